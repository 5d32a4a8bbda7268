"""Names of figures: in a run's metrics.jsonl and finished.json, and in what `segray evaluate` leaves.

The training loop and the evaluators write figures by these names; reports, the console, gauges and the benchmarks'
tables read them. How often a method's components acted has names of its own (`methods.component_counts`).
"""

from typing import Final

LOSS: Final = "loss"
"""The whole loss; its parts are `loss/<part>`, those of a stream `loss/<stream>/<part>`."""

AP: Final = "ap"
"""Average precision over IoU 0.50 to 0.95; of one class `ap/<class>`."""
AP50: Final = "ap50"
AP75: Final = "ap75"
AP_SMALL: Final = "ap_small"
AP_MEDIUM: Final = "ap_medium"
AP_LARGE: Final = "ap_large"
AP_FIGURES: Final = (AP, AP50, AP75, AP_SMALL, AP_MEDIUM, AP_LARGE)
CITYSCAPES_AP: Final = "ap_cityscapes"
"""Average precision by the protocol of cityscapesScripts; of one class `ap_cityscapes/<class>`."""
CITYSCAPES_AP50: Final = "ap50_cityscapes"

MIOU: Final = "miou"
"""Mean intersection over union of label maps."""
IOU: Final = "iou"
"""Of one class, as `iou/<class>`."""
PIXEL_ACCURACY: Final = "pixel_accuracy"
COVERAGE: Final = "coverage"
"""Share of the known pixels that have any class."""

RECALL: Final = "recall"
"""Average recall of masks without a class; of pseudo-labels, the share of objects that have one."""

TEACHER_LABELS: Final = "labels_before"
"""Group of figures of pseudo-labels as the teacher gives them: `labels_before/<figure>`."""
REFINED_LABELS: Final = "labels_after"
"""Group of figures of pseudo-labels after refinement."""
LABEL_MAPS: Final = "labels"
"""Group of figures of the label maps that unlabeled images get."""
PRECISION: Final = "precision"
MATCHED_IOU: Final = "matched_iou"
BEST_IOU: Final = "best_iou"
CLASS_ACCURACY: Final = "class_accuracy"


def part(group: str, name: str) -> str:
    """Return the name of a figure within a group: a part of a loss, a class, a kind of labels."""
    return f"{group}/{name}"


def of_network(network: str, figure: str) -> str:
    """Return the name of a figure of a network beside the student, such as `teacher_ap`; "" is the student."""
    return f"{network}_{figure}" if network else figure
