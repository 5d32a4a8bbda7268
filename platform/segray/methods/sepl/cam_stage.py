"""The stage that makes class maps from image-level tags by a classifier's activations. Knows no Ray.

The method is in docs/methods/sepl.md#class-activation-maps.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from segray.config.base import fingerprint, plain
from segray.config.label import ImageLimits
from segray.datasets.tags import ImageTags, read_tags
from segray.errors import ImageError, LabelError
from segray.evidence import tagger
from segray.evidence.thresholds import ThresholdExample, choose
from segray.formats.registry import open_source
from segray.images import decoding
from segray.labels.labeler import Labeler, Pixels
from segray.labels.stages.previous import PreviousRows
from segray.labels.stages.truth import class_maps
from segray.masks import semantic
from segray.masks.instances import Instances
from segray.masks.provenance import Provenance
from segray.methods.sepl.config import CamConfig, VoteRule, VoteTunedThreshold
from segray.methods.sepl.vote import vote
from segray.nets.device import check_device
from segray.storage import files
from segray.store import StoreKind
from segray.store.rows import ImageRow
from segray.tally import Tally

_log = logging.getLogger(__name__)

CODE_VERSION = 1
"""Raise when the same settings begin to give other maps."""


@dataclass(frozen=True, kw_only=True)
class CamStage:
    """See `labels.stages.stage.Stage`."""

    config: CamConfig
    tags: ImageTags
    weights: str
    """Of the trained classifier; their name says what decided them."""
    threshold: float
    name: str = "cam"
    kind: StoreKind = StoreKind.LABEL_MAPS
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    """See `labels.stages.stage.CountsInputs`."""

    @property
    def content(self) -> Mapping[str, Any]:
        """Settings that decide the maps; `classes` names them by id, for exports."""
        return {
            "source": self.config.source.name or files.absolute(self.config.source.uri),
            "tagger": Path(self.weights).stem,
            "tags": self.tags.fingerprint,
            "scales": list(self.config.maps.scales),
            "threshold": self.threshold,
            "classes": [semantic.BACKGROUND, *self.tags.classes],
            **self.config.limits.content,
            "code_version": CODE_VERSION,
        }

    def build(self) -> Labeler:
        """Load the classifier here."""
        workers = self.config.workers
        torch.set_num_threads(workers.torch_threads)
        device = torch.device("cuda" if workers.gpus else "cpu")
        return Labeler.of_job(
            self.config,
            CamMapper(self.config, self.tags, self.weights, self.threshold, device),
            load=partial(_load, tags=self.tags, limits=self.config.limits),
            check_device=check_device,
        )


class CamMapper:
    """Pixels and tags to class maps (see `labeler.Generator`)."""

    def __init__(
        self, config: CamConfig, tags: ImageTags, weights: str, threshold: float, device: torch.device
    ) -> None:
        self._side, self._scales, self._threshold = config.tagger.side, config.maps.scales, threshold
        self._tagger = tagger.load(config.tagger, len(tags.classes), weights, device)

    def generate(self, images: Sequence[tuple[Pixels, tuple[int, ...]]]) -> list[Instances]:
        """One mask per class, background among them.

        Raises:
            MemoryError: an image does not fit.
        """
        try:
            return [self._mapped(pixels, present) for pixels, present in images]
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error)) from error

    def scores(self, pixels: Pixels, present: tuple[int, ...]) -> tagger.Scores:
        """Activations of the classes that are present."""
        return tagger.activations(self._tagger, pixels, present, self._side, self._scales)

    def _mapped(self, pixels: Pixels, present: tuple[int, ...]) -> Instances:
        size_hw = (pixels.shape[0], pixels.shape[1])
        labels, sure = tagger.label_map(self.scores(pixels, present), present, self._threshold, size_hw)
        return semantic.from_map(labels, provenance=Provenance.CAM, scores=sure)


def stage_of(config: CamConfig) -> CamStage:
    """The stage that a config describes: reads the tags, and trains the classifier where it is not there yet.

    A threshold to be chosen is chosen here, on labeled images alone.

    Raises:
        DamageError: more of the tags or of the labeled images is damaged than `max_damaged`.
        SourceError: images or tags cannot be read.
        BackendError: the encoder's weights cannot be had.
        LabelError: an image to learn from cannot be read, or nothing is labeled to choose a threshold on.
    """
    rows = {row.image_id: row for row in open_source(config.source).rows()}
    tags = read_tags(config.tags, list(rows))
    tags.tally.check(config.max_damaged, "tags")
    weights = _trained(config, rows, tags)
    threshold, tallies = config.maps.threshold, {"tags": tags.tally}
    if isinstance(threshold, VoteTunedThreshold):
        classes, tally = (semantic.BACKGROUND, *tags.classes), Tally()
        threshold = choose(_examples(config, threshold, tags, weights, tally), threshold.candidates, classes).threshold
        tally.check(config.max_damaged, "maps.threshold.labeled")
        tallies["maps.threshold.labeled"] = tally
    return CamStage(config=config, tags=tags, weights=weights, threshold=threshold, tallies=tallies)


def _trained(config: CamConfig, rows: Mapping[str, ImageRow], tags: ImageTags) -> str:
    """Where the weights lie; trained first where they do not yet."""
    versions = sorted((image_id, rows[image_id].version) for image_id in tags.of)
    decided_by = {"tagger": plain(config.tagger), "tags": tags.fingerprint, "images": versions, "code": CODE_VERSION}
    weights = Path(config.taggers) / f"tagger-{fingerprint(decided_by)}.safetensors"
    if not weights.exists():
        weights.parent.mkdir(parents=True, exist_ok=True)
        known = [(rows[image_id].uri, present) for image_id, present in sorted(tags.of.items())]
        _log.info("training a classifier on the tags of %d images: %s", len(known), weights)
        read = _reader([uri for uri, _ in known], config.limits)
        tagger.train(config.tagger, read, [present for _, present in known], len(tags.classes), weights, _here(config))
    return str(weights)


def _here(config: CamConfig) -> torch.device:
    """Where the classifier is trained and its threshold chosen: on a GPU if actors get one and this process has one."""
    return torch.device("cuda" if config.workers.gpus and torch.cuda.is_available() else "cpu")


def _reader(uris: Sequence[str], limits: ImageLimits) -> Callable[[int], Pixels]:
    def read(index: int) -> Pixels:
        try:
            return decoding.load(uris[index], limits.max_pixels, limits.bands)[0]
        except ImageError as error:
            raise LabelError(
                f"{uris[index]}: cannot be learned from ({error}); mend it or take its tags away"
            ) from error

    return read


def _load(row: ImageRow, tags: ImageTags, limits: ImageLimits) -> tuple[tuple[Pixels, tuple[int, ...]], str]:
    if row.image_id not in tags.of:
        raise ImageError("no-tags", "nothing is known of what it shows")
    pixels, sha256 = decoding.load(row.uri, limits.max_pixels, limits.bands)
    return (pixels, tags.of[row.image_id]), sha256


def _examples(
    config: CamConfig, chosen: VoteTunedThreshold, tags: ImageTags, weights: str, tally: Tally
) -> Iterator[ThresholdExample]:
    """Labeled images with what their classes activate, computed once, for all thresholds."""
    mapper, voting = CamMapper(config, tags, weights, 0.0, _here(config)), chosen.voting
    masks = PreviousRows(voting.masks) if voting else None
    for row, truth in class_maps(chosen.labeled, (semantic.BACKGROUND, *tags.classes), tally):
        present = tags.of.get(row.image_id)
        if present is None:
            raise LabelError(
                f"the labeled image {row.image_id!r} has no tags: it must be among the images of the source"
            )
        pixels, _ = decoding.load(row.uri, config.limits.max_pixels, config.limits.bands)
        guess = partial(_guess, mapper.scores(pixels, present), present, truth.shape)
        if masks and voting:
            try:
                guess = partial(_voted, guess, masks.masks(row), voting.rule)
            except ImageError as error:
                raise LabelError(f"the labeled image {row.image_id!r} has no masks to vote: {error}") from error
        yield ThresholdExample(truth=truth, guess=guess)


def _guess(scores: tagger.Scores, present: tuple[int, ...], size_hw: tuple[int, int], threshold: float) -> semantic.Map:
    return tagger.label_map(scores, present, threshold, size_hw)[0]


def _voted(guess: Callable[[float], semantic.Map], masks: Instances, rule: VoteRule, threshold: float) -> semantic.Map:
    return vote(masks, guess(threshold), rule)
