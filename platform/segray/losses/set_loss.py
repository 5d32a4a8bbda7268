"""Mask2Former's loss: match queries to masks, then classes for all queries and masks for the matched ones.

Cheng et al. 2022 (arXiv 2112.01527) section 3.3 and its released code, from which the numbers are. Knows outputs only
by their logits; draws everything per image from its key, so that an image's loss does not depend on what else is in
its batch. Computes in float32 whatever autocast says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from segray import keyed_random
from segray.losses import matching
from segray.losses.boxes import box_costs, box_losses, boxes_of
from segray.losses.criterion import Targets
from segray.losses.points import MaskStack, most_uncertain, random_points, values_at


class SetOutput(Protocol):
    """What B images' queries say, once per supervised output."""

    @property
    def class_logits(self) -> Sequence[Tensor]:
        """(B, Q, K + 1) each; the last class is "no object"."""
        ...

    @property
    def mask_logits(self) -> Sequence[Tensor]:
        """(B, Q, h, w) each, over the canvas."""
        ...

    @property
    def boxes(self) -> Sequence[Tensor]:
        """(B, Q, 4) each, as `boxes.boxes_of` has them; none where only masks are predicted."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class _Truth:
    """The targets of B images, M masks in all, at most N in one."""

    numbers: list[int]
    """Masks of each image."""
    masks: MaskStack
    boxes: Tensor
    """(M, 4)."""
    classes: Tensor
    """(M,) int64."""
    images: Tensor
    """(M,) int64, whose."""
    places: Tensor
    """(M,) int64, which of its image's."""

    @classmethod
    def of(cls, targets: Sequence[Targets]) -> Self:
        numbers = [len(one) for one in targets]
        classes = torch.cat([one.classes for one in targets])
        images = torch.arange(len(numbers)).repeat_interleave(torch.tensor(numbers))
        places = torch.cat([torch.arange(number) for number in numbers])
        return cls(
            numbers=numbers,
            masks=MaskStack.of([one.masks for one in targets]),
            boxes=torch.cat([boxes_of(one.masks) for one in targets]),
            classes=classes,
            images=images.to(classes.device),
            places=places.to(classes.device),
        )

    def padded(self, values: Tensor) -> Tensor:
        """(M, ...) as (B, N, ...), zeros where an image has fewer masks."""
        out = values.new_zeros(len(self.numbers), max(self.numbers), *values.shape[1:])
        return out.index_put((self.images, self.places), values)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Matched:
    """R pairs of a query and a mask in one supervised output, image by image."""

    images: Tensor
    queries: Tensor
    rows: Tensor
    """Which of the M masks."""
    numbers: list[int]
    """Pairs of each image."""


def _box_losses(boxes: Tensor, truth: _Truth, matched: _Matched) -> Tensor:
    """(2,): L1 distance and generalised IoU loss, each summed over pairs."""
    return box_losses(boxes[matched.images, matched.queries], truth.boxes[matched.rows])


@dataclass(frozen=True, kw_only=True)
class SetCriterion:
    """A `Criterion` over `Targets`. Losses: "class", "mask" and "dice", each weighted and summed over outputs; "box"
    and "giou" too where boxes are predicted.
    """

    num_classes: int
    num_queries: int
    class_weight: float
    mask_weight: float
    dice_weight: float
    no_object_weight: float
    """Of "no object" within the cross-entropy."""
    num_points: int
    """At which masks are compared, for matching and per matched mask for the loss."""
    oversample_ratio: float
    """Points drawn per point of the loss."""
    importance_sample_ratio: float
    """Share of the loss's points that are the most uncertain of those drawn."""
    box_weight: float = 0.0
    """Of the L1 distance of boxes."""
    giou_weight: float = 0.0
    """Of the generalised IoU of boxes."""

    def count(self, targets: Sequence[Targets]) -> Tensor:
        """(2,): number of masks, and sum of class weights over all queries."""
        numbers = torch.tensor([len(one) for one in targets], dtype=torch.float32)
        objects = numbers.clamp(max=self.num_queries)
        weights = objects + self.no_object_weight * (self.num_queries - objects)
        return torch.stack([numbers.sum(), weights.sum()]).to(targets[0].classes.device)

    def __call__(
        self, output: SetOutput, targets: Sequence[Targets], *, keys: Sequence[int], count: Tensor
    ) -> dict[str, Tensor]:
        """See `Criterion`."""
        truth = _Truth.of(targets)
        with torch.autocast(count.device.type, enabled=False):
            class_logits = [one.float() for one in output.class_logits]
            mask_logits = [one.float() for one in output.mask_logits]
            boxes = [one.float() for one in output.boxes]
            costs = torch.stack(
                [
                    self._costs(classes, masks, truth, [keyed_random.key(key, "matching", number) for key in keys])
                    for number, (classes, masks) in enumerate(zip(class_logits, mask_logits, strict=True))
                ]
            )
            if boxes:
                costs = costs + torch.stack([self._box_costs(one.detach(), truth) for one in boxes])
            all_matched = self._match(costs, truth)
            outputs = zip(class_logits, mask_logits, all_matched, strict=True)
            parts = [
                torch.stack(
                    [
                        self._class_loss(classes, truth, matched),
                        *self._mask_losses(
                            masks, truth, matched, [keyed_random.key(key, "loss", number) for key in keys]
                        ),
                    ]
                )
                for number, (classes, masks, matched) in enumerate(outputs)
            ]
            by_class, by_mask, by_dice = torch.stack(parts).sum(0)
            masks_in_all = count[0].clamp(min=torch.finfo(torch.float32).tiny)
            # Matching goes around what is no number; the loss must not.
            by_mask = by_mask + 0 * costs.sum()
            losses = {
                "class": self.class_weight * by_class / count[1],
                "mask": self.mask_weight * by_mask / masks_in_all,
                "dice": self.dice_weight * by_dice / masks_in_all,
            }
            if boxes:
                pairs = [_box_losses(one, truth, matched) for one, matched in zip(boxes, all_matched, strict=True)]
                by_box, by_giou = torch.stack(pairs).sum(0)
                losses["box"] = self.box_weight * by_box / masks_in_all
                losses["giou"] = self.giou_weight * by_giou / masks_in_all
        return losses

    def _box_costs(self, boxes: Tensor, truth: _Truth) -> Tensor:
        """(B, Q, N) of one supervised output."""
        return box_costs(boxes, truth.padded(truth.boxes), box_weight=self.box_weight, giou_weight=self.giou_weight)

    @torch.no_grad()
    def _costs(self, class_logits: Tensor, mask_logits: Tensor, truth: _Truth, keys: Sequence[int]) -> Tensor:
        """(B, Q, N) of one supervised output; an image's queries and masks are compared at the same points."""
        points = random_points(keys, [1] * len(keys), self.num_points, mask_logits.device)
        logits = values_at(mask_logits, points)
        rows = torch.arange(len(truth.classes), device=points.device)
        inside = truth.padded(truth.masks.values_at(rows, points[truth.images]))
        return (
            self.class_weight * matching.class_costs(class_logits, truth.padded(truth.classes))
            + self.mask_weight * matching.mask_costs(logits, inside)
            + self.dice_weight * matching.dice_costs(logits, inside)
        )

    def _match(self, costs: Tensor, truth: _Truth) -> list[_Matched]:
        """The cheapest pairs of each supervised output, of costs (outputs, B, Q, N)."""
        firsts = [sum(truth.numbers[:image]) for image in range(len(truth.numbers))]
        matched = []
        for one in costs.cpu():
            pairs = matching.assign(one, truth.numbers)
            numbers = [len(queries) for queries, _ in pairs]
            images = torch.arange(len(pairs)).repeat_interleave(torch.tensor(numbers))
            queries = torch.cat([queries for queries, _ in pairs])
            rows = torch.cat([first + masks for first, (_, masks) in zip(firsts, pairs, strict=True)])
            images, queries, rows = torch.stack([images, queries, rows]).to(costs.device)
            matched.append(_Matched(images=images, queries=queries, rows=rows, numbers=numbers))
        return matched

    def _class_loss(self, logits: Tensor, truth: _Truth, matched: _Matched) -> Tensor:
        """Weighted cross-entropy, summed over all queries."""
        wanted = torch.full(logits.shape[:2], self.num_classes, device=logits.device)
        wanted[matched.images, matched.queries] = truth.classes[matched.rows]
        weights = torch.ones(self.num_classes + 1, device=logits.device)
        weights[-1] = self.no_object_weight
        return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), weights, reduction="sum")

    def _mask_losses(
        self, logits: Tensor, truth: _Truth, matched: _Matched, keys: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Binary cross-entropy (mean over points) and dice, each summed over pairs; 0 with a gradient where none."""
        maps = logits[matched.images, matched.queries][:, None]
        points = self._loss_points(maps.detach(), matched.numbers, keys)
        values = values_at(maps, points)[:, 0]
        inside = truth.masks.values_at(matched.rows, points)
        entropy = F.binary_cross_entropy_with_logits(values, inside, reduction="none").mean(1).sum()
        probabilities = values.sigmoid()
        overlap = (probabilities * inside).sum(1)
        dice = 1 - (2 * overlap + 1) / (probabilities.sum(1) + inside.sum(1) + 1)
        return entropy, dice.sum()

    def _loss_points(self, maps: Tensor, numbers: Sequence[int], keys: Sequence[int]) -> Tensor:
        """(R, num_points, 2): the most uncertain of many, and some that are merely random."""
        candidates = int(self.oversample_ratio * self.num_points)
        num_uncertain = int(self.importance_sample_ratio * self.num_points)
        num_random = self.num_points - num_uncertain
        points = random_points(keys, numbers, candidates + num_random, maps.device)
        return torch.cat([most_uncertain(maps, points[:, :candidates], num_uncertain), points[:, candidates:]], dim=1)
