"""The stage that gives the masks of an earlier store classes by CLIP (docs/methods/zero-shot.md). Knows no Ray."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from segray.config.base import plain
from segray.config.evidence import MatchRule, Overlaps
from segray.config.label import ClassifyConfig, TunedThreshold
from segray.errors import BackendError, ImageError
from segray.evidence import zero_shot
from segray.evidence.build import build
from segray.evidence.protocol import ImageTextEncoder
from segray.evidence.thresholds import ThresholdExample, choose
from segray.labels.labeler import Labeler, Pixels
from segray.labels.stages.previous import PreviousRows
from segray.labels.stages.truth import class_maps
from segray.masks.instances import Instances
from segray.masks.semantic import BACKGROUND, Map, paint
from segray.nets.device import check_device
from segray.store import Store, StoreKind
from segray.tally import Reason, Tally

CODE_VERSION = 2
"""Raise when the same settings begin to give other labels."""


@dataclass(frozen=True, kw_only=True)
class ClassifyStage:
    """See `labels.stages.stage.Stage`."""

    config: ClassifyConfig
    weights_hash: str
    """Of CLIP."""
    masks_fingerprint: str
    """Of the store whose masks are classified."""
    threshold: float
    name: str = "zero-shot"
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    """See `labels.stages.stage.CountsInputs`."""

    @property
    def kind(self) -> StoreKind:
        """Return what the config's `output` asks for."""
        return StoreKind.LABEL_MAPS if self.config.output == "map" else StoreKind.OBJECTS

    @property
    def content(self) -> Mapping[str, Any]:
        """Settings that decide the classes; `classes` names them by id, for exports."""
        config = self.config
        clip = {name: value for name, value in plain(config.clip).items() if name not in _ELSEWHERE}
        return {
            "masks": self.masks_fingerprint,
            "clip": clip | {"weights_hash": self.weights_hash},
            "vocabulary": plain(config.vocabulary),
            "match": plain(config.match),
            "threshold": self.threshold,
            "output": config.output,
            "overlaps": config.overlaps if config.output == "map" else None,
            "classes": list(class_names(config)),
            **config.limits.content,
            "code_version": CODE_VERSION,
        }

    def build(self) -> Labeler:
        """Load CLIP here, and embed the vocabulary."""
        workers = self.config.workers
        torch.set_num_threads(workers.torch_threads)
        evidence = build(self.config.clip, gpu=bool(workers.gpus))
        if evidence.weights_hash != self.weights_hash:
            raise BackendError(
                f"{evidence.name}: other weights on this node than where the job was started: give one URI or revision"
                " that all nodes reach"
            )
        return Labeler.of_job(
            self.config,
            Classifier(evidence, self.config, self.threshold),
            load=partial(PreviousRows(self.config.masks).with_pixels, limits=self.config.limits),
            check_device=check_device,
        )


_ELSEWHERE = {"weights", "model", "revision"}
"""Where weights lie; their hash says which they are."""


class Classifier:
    """Pixels and masks to masks with classes (see `labeler.Generator`)."""

    def __init__(self, evidence: ImageTextEncoder, config: ClassifyConfig, threshold: float) -> None:
        self._evidence, self._config, self._threshold = evidence, config, threshold
        self._concepts = zero_shot.embed(config.vocabulary, evidence.texts)

    def generate(self, images: Sequence[tuple[Pixels, Instances]]) -> list[Instances]:
        """The masks with classes, as a map or as objects.

        Raises:
            MemoryError: so many images, or one so large, do not fit.
        """
        try:
            features = self._evidence.dense([pixels for pixels, _ in images])
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error)) from error
        return [self._classified(one, masks) for one, (_, masks) in zip(features, images, strict=True)]

    def _classified(self, features: torch.Tensor, masks: Instances) -> Instances:
        nearness = zero_shot.compare_with_classes(features, masks, self._concepts)
        decided = zero_shot.assign_classes(masks, nearness, self._config.match, self._threshold)
        if self._config.output == "objects":
            return zero_shot.objects(decided)
        return zero_shot.label_map(masks, decided, self._config.overlaps)


def class_names(config: ClassifyConfig) -> tuple[str, ...]:
    """Of the store's masks, by class id."""
    background = (BACKGROUND,) if config.output == "map" else ()
    return (*background, *config.vocabulary.classes)


def stage_of(config: ClassifyConfig) -> ClassifyStage:
    """The stage that a config describes; a threshold to be chosen is chosen here, on labeled images alone.

    Raises:
        BackendError: the weights are missing or of another architecture.
        DamageError: more of the labeled images is damaged than `max_damaged`.
        LabelError, SourceError: there is nothing labeled to choose a threshold on.
        StoreError: there is no store of masks.
    """
    evidence = build(config.clip, gpu=bool(config.workers.gpus) and torch.cuda.is_available())
    threshold, tallies = config.threshold, {}
    if isinstance(threshold, TunedThreshold):
        classes, tally = (BACKGROUND, *config.vocabulary.classes), Tally()
        threshold = choose(_examples(config, threshold, evidence, tally), threshold.candidates, classes).threshold
        tally.check(config.max_damaged, "threshold.labeled")
        tallies = {"threshold.labeled": tally}
    return ClassifyStage(
        config=config,
        weights_hash=evidence.weights_hash,
        masks_fingerprint=Store.open(config.masks).manifest.fingerprint,
        threshold=threshold,
        tallies=tallies,
    )


def _examples(
    config: ClassifyConfig, chosen: TunedThreshold, evidence: ImageTextEncoder, tally: Tally
) -> Iterator[ThresholdExample]:
    """Labeled images whose masks are in the store, compared once, for all thresholds."""
    previous, concepts = PreviousRows(config.masks), zero_shot.embed(config.vocabulary, evidence.texts)
    for row, truth in class_maps(chosen.labeled, (BACKGROUND, *config.vocabulary.classes), tally):
        try:
            (pixels, masks), _ = previous.with_pixels(row, config.limits)
        except ImageError as error:
            # Refused images are left out here too, and say why in the store.
            tally.note("images", Reason(error.reason, f"are not used for the threshold: {error.reason}"), row.image_id)
            continue
        nearness = zero_shot.compare_with_classes(evidence.dense([pixels])[0], masks, concepts)
        yield ThresholdExample(truth=truth, guess=partial(_guess, masks, nearness, config.match, config.overlaps))


def _guess(
    masks: Instances, nearness: zero_shot.ClassSimilarity, rule: MatchRule, overlaps: Overlaps, threshold: float
) -> Map:
    return paint(zero_shot.label_map(masks, zero_shot.assign_classes(masks, nearness, rule, threshold), overlaps))
