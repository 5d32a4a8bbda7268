"""UniMatch: semantic segmentation from few labels by weak-to-strong consistency, alone or with zero-shot labels.

V1: Yang et al., CVPR 2023, arXiv 2208.09910; V2: Yang et al., TPAMI 2025, arXiv 2410.10777.

What the model says of the weak view of an unlabeled image is the label of its strong views, where it is sure:

  fixmatch   L = 1/2 [L_x + L_s]                                     one strong view (FixMatch, arXiv 2001.07685)
  dual       L = 1/2 [L_x + 1/2 L_s1 + 1/2 L_s2]                     two
  v1         L = 1/2 [L_x + 1/4 L_s1 + 1/4 L_s2 + 1/2 L_fp]          two, and the weak view with channel dropout
  v2         L = 1/2 [L_x + 1/2 L_s1 + 1/2 L_s2]                     two, with complementary channel dropout

  strong view:  colour -> a rectangle of another image, with its labels (CutMix)
  teacher:      the student itself in eval mode (V1), or its moving average (V2)
  zero-shot:    labels of a store, on the same canvas: as a further loss, trusted less and less (SemiVL's schedule), in
                place of unsure ones, alone, or to train the model that labels

The zero-shot method's own rule is not published: these are reconstructions. Details and constants:
docs/methods/unimatch.md and docs/methods/zero-shot.md#enhanced-labels.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn
from typing_extensions import override

from segray import keyed_random
from segray.config.base import plain
from segray.config.students import CrossEntropy
from segray.datasets.training_rows import TrainingRows
from segray.evaluation.build import evaluator
from segray.losses.cross_entropy import SemanticCriterion
from segray.masks.semantic import UNKNOWN, Map
from segray.methods import component_counts as counts
from segray.methods.component_counts import ComponentCounts
from segray.methods.config import TrainConfig
from segray.methods.labeled_images import check_labeled
from segray.methods.unimatch.config import UniMatch
from segray.methods.unimatch.cutmix import boxes, partners, paste
from segray.methods.unimatch.perturbation import (
    ChannelScaling,
    Factors,
    channel_dropout,
    complementary_dropout,
    unperturbed,
)
from segray.methods.unimatch.streams import Stream, UnlabeledTargets
from segray.methods.unimatch.zero_shot import ZeroShotLabels
from segray.models.build import build_student, load_student
from segray.models.preprocessing import inference
from segray.models.student import SemanticOutput, Student
from segray.nets import norms
from segray.store import Store
from segray.training.augmentation.batch import Batch
from segray.training.augmentation.colour import strong_view
from segray.training.ema import decay, ema_step, freeze_weights, weight_distance
from segray.training.objective import Objective, RunPosition
from segray.training.plan import RunContext, RunPlan
from segray.training.precision import autocast


@dataclass(frozen=True, kw_only=True)
class _Streams:
    """What the student sees of an unlabeled image, and how much each view weighs."""

    strong: tuple[float, ...]
    features: float = 0.0
    """Of the weak view with channel dropout; 0: there is none."""
    complementary_dropout: bool = False


STREAMS: Final[Mapping[str, _Streams]] = {
    "fixmatch": _Streams(strong=(1.0,)),
    "dual": _Streams(strong=(0.5, 0.5)),
    "v1": _Streams(strong=(0.25, 0.25), features=0.5),
    "v2": _Streams(strong=(0.5, 0.5), complementary_dropout=True),
}


def plans(_: TrainConfig, method: UniMatch) -> Sequence[RunPlan]:
    """One run; with relabeling the run of the model that labels, then the student's."""
    settings = {name: value for name, value in plain(method).items() if name not in ("kind", "schedule")}
    settings["ema_half_life"] = method.half_life
    if method.zero_shot is not None:
        # What made the labels, wherever they lie.
        store = Store.open(method.zero_shot.store).manifest.fingerprint
        settings["zero_shot"] = {**settings["zero_shot"], "store": store}
    student = RunPlan(
        method="unimatch",
        name="student",
        schedule=method.schedule,
        settings=settings,
        objective=partial(UniMatchObjective.build, method=method),
        evaluator=evaluator,
        unlabeled=True,
        check=partial(_labels_there, method=method),
    )
    if method.zero_shot is None or method.zero_shot.use != "relabel":
        return [student]
    labeler = replace(student, name="labeler")
    relabeled = partial(UniMatchObjective.build_relabeled, method=method)
    return [labeler, replace(student, objective=relabeled, parents=("labeler",))]


# ---------------------------------------------------------------------------------------------------------- a step


@dataclass(frozen=True, kw_only=True, eq=False)
class UniMatchInputs:
    """What the step needs of a piece."""

    labeled: Batch
    streams: Sequence[Stream]
    weight: float
    """Of the unlabeled streams together, now."""
    trust: float
    """In zero-shot labels, now."""


class UniMatchStep(nn.Module):
    """All views of a piece; a stream's loss is divided by its pixels (docs/methods/unimatch.md#losses)."""

    def __init__(self, student: Student, criterion: SemanticCriterion) -> None:
        super().__init__()
        self.student, self.criterion = student, criterion

    @override
    def forward(self, inputs: UniMatchInputs, count: Tensor) -> dict[str, Tensor]:
        """Named losses: `ce` on labels, `unlabeled/...` on pseudo-labels, `zero_shot/...` on zero-shot ones."""
        labeled, streams = inputs.labeled, inputs.streams
        ours, *theirs = self._seen(labeled.images, streams)
        on_labels = self.student.criterion(ours, labeled.targets, keys=labeled.keys, count=count[:1])
        losses = {name: value / 2 for name, value in on_labels.items()}
        for stream, seen, own in zip(streams, theirs, count[1:, None], strict=True):
            loss = partial(self.criterion, seen, keys=(), count=own)
            weight = inputs.weight * stream.weight / 2
            losses[f"unlabeled/{stream.name}"] = weight * loss(stream.targets)["ce"]
            if stream.guides:
                losses[f"zero_shot/{stream.name}"] = inputs.trust * stream.weight * loss(stream.guides)["ce"]
        return losses

    def _seen(self, labeled: Tensor, streams: Sequence[Stream]) -> list[SemanticOutput]:
        """What the student says of the labeled images and of each stream.

        One forward pass sees all of them, unless norms look at the batch: then weak and strong views are apart, as in
        the published code.
        """
        images = [labeled, *(one.images for one in streams)]
        factors = [[None] * len(labeled), *(one.factors for one in streams)]
        weak = [0, *(index for index, one in enumerate(streams, 1) if not one.is_strong)]
        strong = [index for index in range(len(images)) if index not in weak]
        passes = [weak, strong] if norms.look_at_batch(self.student) else [list(range(len(images)))]
        found: dict[int, SemanticOutput] = {}
        for chosen in passes:
            perturb = ChannelScaling([own for index in chosen for own in factors[index]])
            output: SemanticOutput = self.student(torch.cat([images[index] for index in chosen]), perturb)
            parts = torch.split(output.logits, [len(images[index]) for index in chosen])
            found |= {index: SemanticOutput(logits=one) for index, one in zip(chosen, parts, strict=True)}
        return [found[index] for index in range(len(images))]


# ----------------------------------------------------------------------------------------------------- the objective


class UniMatchObjective(Objective[UniMatchInputs]):
    """Labels, and what the model says of unlabeled images."""

    def __init__(
        self,
        student: Student,
        settings: UniMatch,
        *,
        zero_shot: ZeroShotLabels | None = None,
        labeler: Student | None = None,
    ) -> None:
        """`labeler`: a trained model that labels all pixels, in the place of the student or its average."""
        self.student, self.settings, self.zero_shot, self.labeler = student, settings, zero_shot, labeler
        assert isinstance(student.criterion, SemanticCriterion)
        self.criterion = replace(student.criterion, settings=CrossEntropy(label_smoothing=settings.label_smoothing))
        self.module = UniMatchStep(student, self.criterion)
        self.teacher: Student | None = None
        if settings.half_life is not None and labeler is None:
            self.teacher = deepcopy(student)
            freeze_weights(self.teacher)
        self.streams = STREAMS[settings.streams]
        self.weight, self.trust = settings.unlabeled_weight, 0.0
        self._figures = ComponentCounts()

    @classmethod
    def build(cls, context: RunContext, *, method: UniMatch) -> "UniMatchObjective":
        """A fresh student."""
        config = context.config
        student = build_student(config.student, context.classes, seed=config.seed).to(context.device)
        zero_shot = ZeroShotLabels(method.zero_shot, context.classes) if method.zero_shot else None
        return cls(student, method, zero_shot=zero_shot)

    @classmethod
    def build_relabeled(cls, context: RunContext, *, method: UniMatch) -> "UniMatchObjective":
        """Build a fresh student, no copy of the model that labels (docs/methods/zero-shot.md#enhanced-labels)."""
        config = context.config
        student = build_student(config.student, context.classes, seed=keyed_random.key(config.seed, "relabeled"))
        labeler = load_student(context.parents["labeler"], context.device)
        freeze_weights(labeler)
        return cls(student.to(context.device), method, labeler=labeler)

    @override
    def before_step(self, at: RunPosition) -> None:
        half_life, zero_shot = self.settings.half_life, self.settings.zero_shot
        if self.teacher is not None and half_life is not None:
            # V2's ratio (docs/methods/unimatch.md#ema-teacher): a plain mean while there are few updates.
            ema_step(self.teacher, self.student, keep=min(1 - 1 / max(at.step, 1), decay(half_life)))
        if self.settings.ramp:
            self.weight = self.settings.unlabeled_weight * min(1.0, at.step / (self.settings.ramp * at.steps))
        if zero_shot is not None:
            self.trust = zero_shot.trust + (zero_shot.last_trust - zero_shot.trust) * at.step / at.steps

    @override
    @torch.no_grad()
    def prepare(self, labeled: Batch, unlabeled: Batch | None) -> UniMatchInputs:
        """Labels of the weak view, then every strong view: colour, mixing, and which channels it loses."""
        assert unlabeled is not None
        taught = self._unlabeled_targets(unlabeled)
        streams = [self._strong(unlabeled, taught, number) for number in range(len(self.streams.strong))]
        if self.streams.features:
            factors = [channel_dropout(key, self.settings.feature_dropout) for key in unlabeled.keys]
            weight = self.streams.features
            streams.append(taught.stream("features", weight, unlabeled.images, factors, is_strong=False))
        return UniMatchInputs(labeled=labeled, streams=streams, weight=self.weight, trust=self.trust)

    @override
    def count(self, prepared: UniMatchInputs) -> Tensor:
        own = self.student.criterion.count(prepared.labeled.targets)
        return torch.cat([own, *(self.criterion.count(one.targets) for one in prepared.streams)])

    @override
    def figures(self) -> Mapping[str, tuple[float, float]]:
        found = self._figures.take()
        if self.teacher is not None:
            found[counts.TEACHER_DISTANCE] = (weight_distance(self.teacher, self.student), 1.0)
        return found

    @override
    def teachers(self) -> Mapping[str, nn.Module]:
        return {} if self.teacher is None else {"teacher": self.teacher}

    @override
    def label_maps(self, batch: Batch) -> list[Map]:
        return [one.cpu().numpy() for one in self._enhanced(batch, self._guess(batch))[0]]

    def _strong(self, batch: Batch, taught: UnlabeledTargets, number: int) -> Stream:
        """Strong view `number`; draws of its own, partners shared."""
        keys = [keyed_random.key(key, "strong view", number) for key in batch.keys]
        images = strong_view(batch.images, self.settings.strong, keys)
        if self.settings.cutmix is not None:
            partner = partners(batch.keys, self.settings.group)
            where = boxes((images.shape[2], images.shape[3]), self.settings.cutmix, keys)
            self._figures.add(counts.VIEWS_MIXED, sum(one is not None for one in where), len(where))
            mix = partial(paste, partner=partner, where=where)
            images, taught = mix(images), taught.mixed(mix)
        name, weight = f"strong{number + 1}", self.streams.strong[number]
        return taught.stream(name, weight, images, self._complementary(batch, number))

    def _complementary(self, batch: Batch, number: int) -> list[Factors | None]:
        if not self.streams.complementary_dropout:
            return [None] * len(batch)
        whole = unperturbed(batch.keys, self.settings.group)
        return [
            None if own else complementary_dropout(key, second=number == 1)
            for key, own in zip(batch.keys, whole, strict=True)
        ]

    def _unlabeled_targets(self, batch: Batch) -> UnlabeledTargets:
        """What the weak views teach, and how often each source of it spoke."""
        guess = self._guess(batch)
        labels, guide = self._enhanced(batch, guess)
        inside = _inside(batch)
        pixels = float(inside.sum())
        self._figures.add(counts.PIXELS_TAUGHT, (labels != UNKNOWN).sum(), pixels)
        if self.zero_shot is not None:
            by_zero_shot = guide != UNKNOWN if guide is not None else (labels != UNKNOWN) & (labels != guess)
            self._figures.add(counts.PIXELS_BY_ZERO_SHOT, by_zero_shot.sum(), pixels)
            self._figures.add(counts.TRUST, self.trust, 1)
        return UnlabeledTargets(labels=labels, guide=guide, inside=inside)

    def _enhanced(self, batch: Batch, guess: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return labels (B, H, W) uint8, 255 where there are none, and zero-shot labels for guidance.

        The rules are in docs/methods/zero-shot.md#enhanced-labels.
        """
        if self.zero_shot is None:
            return guess, None
        found = self.zero_shot(batch)
        match self.zero_shot.settings.use:
            case "only":
                return found, None
            case "fill":
                return torch.where(guess == UNKNOWN, found, guess), None
            case "guide" | "relabel":
                return guess, found

    @torch.no_grad()
    def _guess(self, batch: Batch) -> Tensor:
        """(B, H, W) uint8: the class that the model gives each pixel of the weak view, 255 where it is unsure."""
        if self.zero_shot is not None and self.zero_shot.settings.use == "only":
            return torch.full_like(batch.images[:, 0], UNKNOWN)
        model = self.labeler or self.teacher or self.student
        with inference(model), autocast(self.settings.schedule, batch.images.device):
            output: SemanticOutput = model(batch.images)
        logits = self.criterion.full_size(output.logits, (batch.images.shape[2], batch.images.shape[3]))
        sure, labels = logits.softmax(1).max(1)
        believed = _inside(batch)
        if self.labeler is None:
            believed = believed & (sure >= self.settings.threshold)
        return labels.to(torch.uint8).masked_fill(~believed, UNKNOWN)


def _labels_there(rows: Mapping[str, TrainingRows], *, method: UniMatch) -> None:
    if method.zero_shot is not None:
        labels = ZeroShotLabels(method.zero_shot, rows["labeled"].classes)
        check_labeled(labels.lookup, rows["unlabeled"].image_ids)


def _inside(batch: Batch) -> Tensor:
    """(B, H, W) bool: what of the canvases is image."""
    inside = torch.zeros(len(batch), *batch.images.shape[2:], dtype=torch.bool)
    for own, view in zip(inside, batch.views, strict=True):
        rows, columns = view.valid_hw
        own[:rows, :columns] = True
    return inside.to(batch.images.device)
