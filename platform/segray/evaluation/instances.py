"""How instance students are measured: AP, and how good the pseudo-labels are before and after refinement."""

from collections.abc import Iterator, Mapping, Sequence

from typing_extensions import override

from segray import metric_names
from segray.config.students import InstanceStudentConfig
from segray.config.train import TrainSettings
from segray.evaluation.evaluators import EvaluationView, ImageShare, StudentEvaluator
from segray.evaluation.instance_scores import InstanceScores
from segray.evaluation.pseudo_labels import PseudoLabelQuality
from segray.evaluation.students import EvaluationExamples, measure_instances
from segray.masks import rle
from segray.masks.instances import Instances
from segray.models.student import Student
from segray.training.objective import EvaluatedNetworks
from segray.training.plan import EvaluationRows

LEAST_SCORE = 0.3
"""Instances of a lower score are not drawn."""


class InstanceEvaluator(StudentEvaluator[InstanceScores, PseudoLabelQuality]):
    """AP on the validation images; pseudo-labels against the true masks of unlabeled images."""

    metric = metric_names.AP

    def __init__(self, config: TrainSettings, classes: Sequence[str], rows: EvaluationRows) -> None:
        super().__init__(config, classes, rows)
        assert isinstance(config.student, InstanceStudentConfig)
        self.max_dets = config.student.predict.top_k
        self.protocol = config.evaluation.protocol
        if self.protocol == "cityscapes":
            self.metric = metric_names.CITYSCAPES_AP

    @override
    def score(self, student: Student, examples: EvaluationExamples, share: ImageShare) -> InstanceScores:
        return measure_instances(
            student.predict,
            examples,
            classes=self.classes,
            max_dets=self.max_dets,
            protocol=self.protocol,
            limit=share.limit,
            rank=share.rank,
            world=share.world,
        )

    @override
    def student_figures(self, whole: InstanceScores) -> Mapping[str, float]:
        return whole.result().figures()

    @override
    def score_labels(
        self, measured: EvaluatedNetworks, canvases: Iterator[EvaluationView]
    ) -> PseudoLabelQuality | None:
        quality = PseudoLabelQuality()
        for canvas in canvases:
            labels = measured.label(canvas.batch)
            if not labels:
                return None
            quality.add(labels[0].teacher, labels[0].refined, _true(canvas))
        return quality

    @override
    def label_figures(self, whole: PseudoLabelQuality) -> Mapping[str, float]:
        return whole.figures()

    @override
    def columns(self, measured: EvaluatedNetworks, canvas: EvaluationView) -> Iterator[tuple[str, Instances]]:
        yield "truth", _true(canvas)
        for labels in measured.label(canvas.batch):
            yield "teacher", labels.teacher
            # Both are the same without refinement, and where a store of masks does not hold the image.
            if list(labels.refined.counts) != list(labels.teacher.counts):
                yield "refined", labels.refined

    @override
    def shown(self, found: Instances) -> Instances:
        return found.filter(found.scores >= LEAST_SCORE)


def _true(canvas: EvaluationView) -> Instances:
    """Return the true instances that the canvas shows, in its pixels."""
    masks, kept = canvas.batch.views[0].masks(canvas.true)
    return Instances.from_rle(
        rle.encode(masks),
        masks.shape[1:],
        provenance=list(canvas.true.provenance[kept]),
        classes=canvas.true.classes[kept],
    )
