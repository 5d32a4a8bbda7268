"""What runs are measured by: AP of instances, mIoU of label maps. Knows the names of figures and words for them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from segray import metric_names


@dataclass(frozen=True, kw_only=True)
class HeadlineMetric:
    """A figure that says which student is best, and those beside it."""

    key: str
    """Its name among the figures; of one class `<of_class>/<class>`."""
    of_class: str
    title: str
    lead: str
    """What a reader must know of it."""
    names: Mapping[str, str]
    """The figures of a table's row by their own names: itself first."""
    second: str
    """What the second of them is, in few words."""
    curves: tuple[str, ...]
    """Those drawn over the steps of a run."""
    maps: bool
    """Whether what is measured are label maps."""

    @property
    def name(self) -> str:
        """For people."""
        return self.names[self.key]


AP: Final = HeadlineMetric(
    key=metric_names.AP,
    of_class=metric_names.AP,
    title="Average precision",
    lead="COCO mask AP in per cent: the mean over IoU 0.50 to 0.95. Small is up to 32 × 32 pixels, large from 96 × 96 on.",  # noqa: E501
    names={
        metric_names.AP: "AP",
        metric_names.AP50: "AP50",
        metric_names.AP75: "AP75",
        metric_names.AP_SMALL: "AP small",
        metric_names.AP_MEDIUM: "AP medium",
        metric_names.AP_LARGE: "AP large",
    },
    second="IoU from 0.5 on",
    curves=(metric_names.AP, metric_names.AP50, metric_names.AP75),
    maps=False,
)
MIOU: Final = HeadlineMetric(
    key=metric_names.MIOU,
    of_class=metric_names.IOU,
    title="Intersection over union",
    lead="mIoU in per cent: the mean over classes of what is right among all pixels of a class, found or true, of all"
    " images together. Pixels whose truth is unknown are left out.",
    names={metric_names.MIOU: "mIoU", metric_names.PIXEL_ACCURACY: "Right pixels"},
    second="of those whose class is known",
    curves=(metric_names.MIOU, metric_names.PIXEL_ACCURACY),
    maps=True,
)


def headline_metric(figures: Iterable[str]) -> HeadlineMetric:
    """What a run with figures of these names is measured by; AP where it has none yet."""
    names = set(figures)
    return MIOU if MIOU.key in names and AP.key not in names else AP
