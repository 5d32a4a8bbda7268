"""How semantic methods are measured: mIoU of the student and of its teachers, and how good the labels they make are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from segray import keyed_random
from segray.config.train import TrainSettings
from segray.datasets.training_rows import TrainingRows
from segray.evaluation.instances import RowExamples
from segray.evaluation.students import chosen, gather_maps
from segray.masks import semantic
from segray.masks.mean_iou import MeanIou
from segray.masks.semantic import Map
from segray.models.student import Student
from segray.training.plan import EvaluationRows, Measured, RunContext
from segray.training.reports.panels import Panel
from segray.training.views.batch import Batch
from segray.training.views.geometry import sample


@runtime_checkable
class MapsImages(Protocol):
    """An objective that makes label maps of unlabeled images."""

    def label_maps(self, batch: Batch) -> Sequence[Map]:
        """What the pixels of each canvas are taught, 255 where nothing."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelMapShard:
    """One worker's part of an evaluation."""

    iou: Mapping[str, MeanIou]
    """By what comes before the figures' names: "" for the student."""
    labels: MeanIou | None
    """Of the label maps that unlabeled images get."""


class LabelMapEvaluator:
    """mIoU on the validation images; label maps against the truth about unlabeled images."""

    metric = "miou"

    def __init__(self, config: TrainSettings, classes: Sequence[str], rows: EvaluationRows) -> None:
        self.classes, self.rows = tuple(classes), rows
        self.limit = config.intervals.evaluate_images
        self.view = replace(config.view, flip=0)

    def shard(self, measured: Measured, *, rank: int, world: int, final: bool) -> LabelMapShard:
        """mIoU of the student and of its teachers, of which V2's is the better one."""
        iou = {}
        if self.rows.validation is not None:
            students = {"": measured.student}
            students |= {f"{n}_": one for n, one in measured.teachers().items() if isinstance(one, Student)}
            examples, limit = RowExamples(self.rows.validation), None if final else self.limit
            iou = {
                prefix: gather_maps(
                    student.predict, examples, classes=self.classes, limit=limit, rank=rank, world=world
                )
                for prefix, student in students.items()
            }
        return LabelMapShard(iou=iou, labels=self._labels(measured, rank, world))

    def result(self, shards: Sequence[LabelMapShard]) -> Mapping[str, float]:
        """By name: `miou`, `iou/<class>`, ..., `teacher_miou`, ..., `labels/miou`, `labels/coverage`, ..."""
        found: dict[str, float] = {}
        for prefix in shards[0].iou:
            found |= {f"{prefix}{n}": v for n, v in _whole([one.iou[prefix] for one in shards]).items()}
        labels = [one.labels for one in shards if one.labels is not None]
        if labels:
            found |= {f"labels/{name}": value for name, value in _whole(labels).items()}
        return found

    def panels(self, measured: Measured, number: int) -> list[Panel]:
        """Images with the truth, the label map where one is made, and what the student sees."""
        rows = self.rows.validation or self.rows.hidden
        if rows is None:
            return []
        return [self._panel(measured, rows, index) for index in chosen(len(rows), number)]

    def _panel(self, measured: Measured, rows: TrainingRows, index: int) -> Panel:
        batch, true = self._canvas(rows, index, measured)
        pixels = batch.images[0].permute(1, 2, 0).cpu().numpy()
        columns = [("truth", semantic.from_map(true, provenance="gt"))]
        if isinstance(measured, MapsImages):
            columns.append(("label map", semantic.from_map(measured.label_maps(batch)[0], provenance="teacher")))
        columns.append(("student", measured.student.predict([pixels])[0]))
        return Panel(image_id=batch.image_ids[0], pixels=pixels, columns=tuple(columns))

    def _labels(self, measured: Measured, rank: int, world: int) -> MeanIou | None:
        rows = self.rows.hidden
        if rows is None or not isinstance(measured, MapsImages):
            return None
        gathered = MeanIou(self.classes)
        for index in chosen(len(rows), self.limit)[rank::world]:
            batch, true = self._canvas(rows, index, measured)
            gathered.add(measured.label_maps(batch)[0], true)
        return gathered

    def _canvas(self, rows: TrainingRows, index: int, measured: Measured) -> tuple[Batch, Map]:
        """An image as training sees it, always the same way, as a batch of one, and the truth about it there."""
        row, example = rows.row(index), RowExamples(rows)[index]
        batch = sample(row, example.pixels, self.view, keyed_random.key("evaluation", index))
        true, _ = semantic.on_canvas(example.true, batch.views[0])
        device = next(measured.student.parameters()).device
        return batch.to(device), true


def label_map_evaluator(context: RunContext, rows: EvaluationRows) -> LabelMapEvaluator | None:
    """What measures a run, where there is anything to measure on."""
    if rows.validation is None and rows.hidden is None:
        return None
    return LabelMapEvaluator(context.config, context.classes, rows)


def _whole(parts: Sequence[MeanIou]) -> dict[str, float]:
    """The figures of all parts together."""
    whole = MeanIou(parts[0].classes)
    for part in parts:
        whole.merge(part)
    return whole.result().figures()
