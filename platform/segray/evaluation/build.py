"""From a run's student to what measures it."""

from segray.config.students import SemanticStudentConfig
from segray.evaluation.instances import InstanceEvaluator
from segray.evaluation.label_maps import LabelMapEvaluator
from segray.training.plan import EvaluationRows, RunContext


def evaluator(context: RunContext, rows: EvaluationRows) -> InstanceEvaluator | LabelMapEvaluator | None:
    """Return mIoU for students of label maps, AP for those of instances; None where there is nothing to measure on."""
    if rows.validation is None and rows.hidden is None:
        return None
    semantic = isinstance(context.config.student, SemanticStudentConfig)
    return (LabelMapEvaluator if semantic else InstanceEvaluator)(context.config, context.classes, rows)
