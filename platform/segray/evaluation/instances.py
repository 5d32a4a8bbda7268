"""How instance methods are measured: AP of the student and of its teachers, and how good the pseudo-labels are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch

from segray import keyed_random
from segray.config.students import InstanceStudentConfig
from segray.config.train import TrainSettings
from segray.datasets.training_rows import TrainingRows
from segray.evaluation.average_precision import AveragePrecision
from segray.evaluation.pseudo_labels import PseudoLabelQuality
from segray.evaluation.students import EvaluationExample, chosen, gather
from segray.images import decoding
from segray.masks import rle
from segray.masks.instances import Instances
from segray.models.student import Student
from segray.training.plan import EvaluationRows, Measured, RunContext
from segray.training.reports.panels import Panel
from segray.training.views.batch import Batch
from segray.training.views.geometry import sample


@runtime_checkable
class LabelsImages(Protocol):
    """An objective whose teacher labels images."""

    def label(self, batch: Batch) -> Sequence[tuple[Instances, Instances]]:
        """Instances of each canvas, as the teacher has them and as refined."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class InstanceShard:
    """One worker's part of an evaluation."""

    ap: Mapping[str, AveragePrecision]
    """By what comes before the figures' names: "" for the student."""
    quality: PseudoLabelQuality | None


class RowExamples:
    """Training rows as images to be measured on."""

    def __init__(self, rows: TrainingRows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> EvaluationExample:
        row = self.rows.row(index)
        pixels, _ = decoding.load(row.uri, decoding.MOST_PIXELS)
        true = row.instances if row.instances is not None else Instances.empty(pixels.shape[:2])
        return EvaluationExample(image_id=row.image_id, pixels=pixels, true=true)


class InstanceEvaluator:
    """AP on the validation images; pseudo-labels against the true masks of unlabeled images."""

    metric = "ap"

    def __init__(self, config: TrainSettings, classes: Sequence[str], rows: EvaluationRows) -> None:
        self.classes, self.rows = tuple(classes), rows
        self.limit = config.intervals.evaluate_images
        assert isinstance(config.student, InstanceStudentConfig)
        self.max_dets = config.student.predict.top_k
        self.view = replace(config.view, flip=0)

    def shard(self, measured: Measured, *, rank: int, world: int, final: bool) -> InstanceShard:
        """AP of the student and of its teachers, by which one sees which of them is worth following."""
        ap = {}
        if self.rows.validation is not None:
            students = {"": measured.student}
            students |= {f"{n}_": one for n, one in measured.teachers().items() if isinstance(one, Student)}
            examples = RowExamples(self.rows.validation)
            for prefix, student in students.items():
                ap[prefix] = gather(
                    student.predict,
                    examples,
                    classes=self.classes,
                    max_dets=self.max_dets,
                    limit=None if final else self.limit,
                    rank=rank,
                    world=world,
                )
        return InstanceShard(ap=ap, quality=self._quality(measured, rank, world))

    def result(self, shards: Sequence[InstanceShard]) -> Mapping[str, float]:
        """By name: `ap`, `ap50`, ..., `ap/<class>`, `teacher_ap`, ..., `labels_before/precision`, ..."""
        found: dict[str, float] = {}
        for prefix, own in shards[0].ap.items():
            whole = AveragePrecision(own.classes, own.max_dets)
            for shard in shards:
                whole.merge(shard.ap[prefix])
            found |= {f"{prefix}{name}": value for name, value in whole.result().figures().items()}
        if shards[0].quality is not None:
            quality = PseudoLabelQuality()
            for shard in shards:
                assert shard.quality is not None
                quality.merge(shard.quality)
            found |= quality.figures()
        return found

    def panels(self, measured: Measured, number: int) -> list[Panel]:
        """Images with the truth, the teacher's labels where there are any, and what the student finds."""
        rows = self.rows.validation or self.rows.hidden
        if rows is None:
            return []
        return [self._panel(measured, rows, index) for index in chosen(len(rows), number)]

    def _panel(self, measured: Measured, rows: TrainingRows, index: int) -> Panel:
        batch, true = self._canvas(rows, index, measured)
        pixels = batch.images[0].permute(1, 2, 0).cpu().numpy()
        columns = [("truth", true)]
        if isinstance(measured, LabelsImages):
            before, after = measured.label(batch)[0]
            columns.append(("teacher", before))
            # Nothing is where there is no refinement, or where a store of masks has none of this image.
            if list(after.counts) != list(before.counts):
                columns.append(("refined", after))
        columns.append(("student", _shown(measured.student.predict([pixels])[0])))
        return Panel(image_id=batch.image_ids[0], pixels=pixels, columns=tuple(columns))

    def _quality(self, measured: Measured, rank: int, world: int) -> PseudoLabelQuality | None:
        rows = self.rows.hidden
        if rows is None or not isinstance(measured, LabelsImages):
            return None
        quality = PseudoLabelQuality()
        for index in chosen(len(rows), self.limit)[rank::world]:
            batch, true = self._canvas(rows, index, measured)
            quality.add(*measured.label(batch)[0], true)
        return quality

    def _canvas(self, rows: TrainingRows, index: int, measured: Measured) -> tuple[Batch, Instances]:
        """An image as training sees it, always the same way, as a batch of one, and the truth about it there."""
        row, example = rows.row(index), RowExamples(rows)[index]
        batch = sample(row, example.pixels, self.view, keyed_random.key("evaluation", index))
        masks, kept = batch.views[0].masks(example.true)
        makers = list(example.true.provenance[kept])
        true = Instances.from_rle(
            rle.encode(masks), masks.shape[1:], provenance=makers, classes=example.true.classes[kept]
        )
        return batch.to(_device(measured)), true


def instance_evaluator(context: RunContext, rows: EvaluationRows) -> InstanceEvaluator | None:
    """What measures a run, where there is anything to measure on."""
    if rows.validation is None and rows.hidden is None:
        return None
    return InstanceEvaluator(context.config, context.classes, rows)


def _shown(found: Instances, least: float = 0.3) -> Instances:
    """What is worth drawing."""
    return found.filter(found.scores >= least)


def _device(measured: Measured) -> torch.device:
    return next(measured.student.parameters()).device


__all__ = ["InstanceEvaluator", "LabelsImages", "instance_evaluator"]
