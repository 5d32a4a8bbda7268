"""What measures a run, by the kind of its student."""

from segray.config.students import SemanticStudentConfig
from segray.evaluation.instances import InstanceEvaluator, instance_evaluator
from segray.evaluation.label_maps import LabelMapEvaluator, label_map_evaluator
from segray.training.plan import EvaluationRows, RunContext


def evaluator(context: RunContext, rows: EvaluationRows) -> InstanceEvaluator | LabelMapEvaluator | None:
    """mIoU for students of label maps, AP for those of instances; None where there is nothing to measure on."""
    if isinstance(context.config.student, SemanticStudentConfig):
        return label_map_evaluator(context, rows)
    return instance_evaluator(context, rows)
