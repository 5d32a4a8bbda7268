"""How the students of a run are measured: what AP of instances and mIoU of label maps have in common.

An evaluation is split over the workers: each makes a `Shard` of its part of the images, all shards together give the
figures. Measured are the student and its teachers on the validation images, and pseudo-labels against the true masks
of unlabeled images (`hidden`) where the objective makes any.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, Self, TypeVar

from segray import keyed_random, metric_names
from segray.config.train import TrainSettings
from segray.datasets.training_rows import TrainingRows
from segray.evaluation.row_examples import RowExamples
from segray.evaluation.students import EvaluationExamples, evenly_spread
from segray.masks.instances import Instances
from segray.models.student import Student
from segray.training.augmentation.batch import Batch
from segray.training.augmentation.geometry import sample
from segray.training.objective import EvaluatedNetworks
from segray.training.plan import EvaluationRows
from segray.training.reports.panels import Panel


class Mergeable(Protocol):
    """Sums over images that add up over workers."""

    def merge(self, other: Self) -> None:
        """Take in what another worker has."""


Score = TypeVar("Score", bound=Mergeable)
Labels = TypeVar("Labels", bound=Mergeable)


@dataclass(frozen=True, kw_only=True)
class ImageShare:
    """Part of the images that one worker measures: every `world`-th from `rank` on, of `limit` evenly spread ones."""

    rank: int
    world: int
    limit: int | None
    """None: all images."""

    def of(self, number: int) -> list[int]:
        """Return the indices of this worker's images among `number`."""
        return evenly_spread(number, self.limit)[self.rank :: self.world]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shard(Generic[Score, Labels]):
    """One worker's part of an evaluation."""

    students: Mapping[str, Score]
    """By the network's name: "" for the student, else a teacher's."""
    labels: Labels | None
    """Of the pseudo-labels; None where the objective makes none, or no true masks are known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationView:
    """An image as training sees it, always the same way, and the truth about it in image coordinates."""

    batch: Batch
    """Of this one image, on the student's device."""
    true: Instances


class StudentEvaluator(ABC, Generic[Score, Labels]):
    """Measures an objective's student (see `training.plan.Evaluator`); subclasses say by what."""

    metric: str
    """Name of the figure that says which student is best."""

    def __init__(self, config: TrainSettings, classes: Sequence[str], rows: EvaluationRows) -> None:
        self.classes, self.rows = tuple(classes), rows
        self.limit = config.intervals.evaluate_images
        self.view = replace(config.view, flip=0)

    def shard(self, measured: EvaluatedNetworks, *, rank: int, world: int, final: bool) -> Shard[Score, Labels]:
        """Measure the student and its teachers, by which one sees which of them is worth following."""
        students: dict[str, Score] = {}
        if self.rows.validation is not None:
            share = ImageShare(rank=rank, world=world, limit=None if final else self.limit)
            networks = {"": measured.student, **measured.teachers()}
            examples = RowExamples(self.rows.validation)
            students = {
                name: self.score(one, examples, share) for name, one in networks.items() if isinstance(one, Student)
            }
        labels = None
        if self.rows.hidden is not None:
            share = ImageShare(rank=rank, world=world, limit=self.limit)
            labels = self.score_labels(measured, self._canvases(self.rows.hidden, share, measured))
        return Shard(students=students, labels=labels)

    def result(self, shards: Sequence[Shard[Score, Labels]]) -> Mapping[str, float]:
        """Return all figures by name, of the student, of teachers (`teacher_ap`) and of pseudo-labels."""
        found: dict[str, float] = {}
        for network in shards[0].students:
            whole = _merged([one.students[network] for one in shards])
            found |= {
                metric_names.of_network(network, name): value for name, value in self.student_figures(whole).items()
            }
        labels = [one.labels for one in shards if one.labels is not None]
        return found | dict(self.label_figures(_merged(labels))) if labels else found

    def panels(self, measured: EvaluatedNetworks, number: int) -> list[Panel]:
        """Show images with the truth, the labels that they get where there are any, and what the student finds."""
        rows = self.rows.validation or self.rows.hidden
        if rows is None:
            return []
        share = ImageShare(rank=0, world=1, limit=number)
        return [self._panel(measured, canvas) for canvas in self._canvases(rows, share, measured)]

    @abstractmethod
    def score(self, student: Student, examples: EvaluationExamples, share: ImageShare) -> Score:
        """Gather what a student finds in the share of the images."""

    @abstractmethod
    def student_figures(self, whole: Score) -> Mapping[str, float]:
        """Return a network's figures by name."""

    @abstractmethod
    def score_labels(self, measured: EvaluatedNetworks, canvases: Iterator[EvaluationView]) -> Labels | None:
        """Gather how good the pseudo-labels of unlabeled images are; None where the objective makes none."""

    @abstractmethod
    def label_figures(self, whole: Labels) -> Mapping[str, float]:
        """Return the pseudo-labels' figures by name."""

    @abstractmethod
    def columns(self, measured: EvaluatedNetworks, canvas: EvaluationView) -> Iterator[tuple[str, Instances]]:
        """Yield what a panel shows of an image by title, the truth first, all but what the student finds."""

    @abstractmethod
    def shown(self, found: Instances) -> Instances:
        """Return what of a student's output is worth drawing."""

    def _panel(self, measured: EvaluatedNetworks, canvas: EvaluationView) -> Panel:
        pixels = canvas.batch.images[0].permute(1, 2, 0).cpu().numpy()
        student = self.shown(measured.student.predict([pixels])[0])
        columns = (*self.columns(measured, canvas), ("student", student))
        return Panel(image_id=canvas.batch.image_ids[0], pixels=pixels, columns=columns)

    def _canvases(self, rows: TrainingRows, share: ImageShare, measured: EvaluatedNetworks) -> Iterator[EvaluationView]:
        device = next(measured.student.parameters()).device
        for index in share.of(len(rows)):
            example = RowExamples(rows)[index]
            batch = sample(rows.row(index), example.pixels, self.view, keyed_random.key("evaluation", index))
            yield EvaluationView(batch=batch.to(device), true=example.true)


def _merged(parts: Sequence[Any]) -> Any:
    whole = deepcopy(parts[0])
    for one in parts[1:]:
        whole.merge(one)
    return whole
