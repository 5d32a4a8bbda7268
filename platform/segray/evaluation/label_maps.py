"""How students of label maps are measured: mIoU, and how good the label maps of unlabeled images are."""

from collections.abc import Iterator, Mapping

from typing_extensions import override

from segray import metric_names
from segray.evaluation.evaluators import EvaluationView, ImageShare, StudentEvaluator
from segray.evaluation.students import EvaluationExamples, measure_label_maps
from segray.masks import semantic
from segray.masks.instances import Instances
from segray.masks.mean_iou import MeanIou
from segray.masks.provenance import Provenance
from segray.masks.semantic import Map
from segray.models.student import Student
from segray.training.objective import EvaluatedNetworks


class LabelMapEvaluator(StudentEvaluator[MeanIou, MeanIou]):
    """mIoU on the validation images; label maps against the truth about unlabeled images."""

    metric = metric_names.MIOU

    @override
    def score(self, student: Student, examples: EvaluationExamples, share: ImageShare) -> MeanIou:
        return measure_label_maps(
            student.predict,
            examples,
            classes=self.classes,
            limit=share.limit,
            rank=share.rank,
            world=share.world,
        )

    @override
    def student_figures(self, whole: MeanIou) -> Mapping[str, float]:
        return whole.result().figures()

    @override
    def score_labels(self, measured: EvaluatedNetworks, canvases: Iterator[EvaluationView]) -> MeanIou | None:
        gathered = MeanIou(self.classes)
        for canvas in canvases:
            labels = measured.label_maps(canvas.batch)
            if not labels:
                return None
            gathered.add(labels[0], _true(canvas))
        return gathered

    @override
    def label_figures(self, whole: MeanIou) -> Mapping[str, float]:
        return {
            metric_names.part(metric_names.LABEL_MAPS, name): value
            for name, value in self.student_figures(whole).items()
        }

    @override
    def columns(self, measured: EvaluatedNetworks, canvas: EvaluationView) -> Iterator[tuple[str, Instances]]:
        yield "truth", semantic.from_map(_true(canvas), provenance=Provenance.GT)
        for labels in measured.label_maps(canvas.batch):
            yield "label map", semantic.from_map(labels, provenance=Provenance.TEACHER)

    @override
    def shown(self, found: Instances) -> Instances:
        return found


def _true(canvas: EvaluationView) -> Map:
    """Return the truth in the canvas's pixels, 255 where it is unknown."""
    return semantic.on_canvas(canvas.true, canvas.batch.views[0])[0]
