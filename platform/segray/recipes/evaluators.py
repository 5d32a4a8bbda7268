"""What measures a run, by the kind of its student."""

from segray.config.students import Semantic
from segray.recipes.instances import InstanceEvaluator, instance_evaluator
from segray.recipes.semantic import SemanticEvaluator, semantic_evaluator
from segray.train.plan import Context, EvaluationRows


def evaluator(context: Context, rows: EvaluationRows) -> InstanceEvaluator | SemanticEvaluator | None:
    """mIoU for students of label maps, AP for those of instances; None where there is nothing to measure on."""
    if isinstance(context.config.student, Semantic):
        return semantic_evaluator(context, rows)
    return instance_evaluator(context, rows)
