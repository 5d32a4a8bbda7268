"""How often a method's components acted since the last line of metrics, and the names of these figures.

A method may count under any name: all of them are drawn in a run's report. The names here are those that the tables of
docs/benchmarks.md show.
"""

from typing import Final

from torch import Tensor

TEACHER_DISTANCE: Final = "teacher_distance"
"""Distance of the teacher's weights from the student's."""

LABELS_PER_IMAGE: Final = "labels_per_image"
IMAGES_LABELED: Final = "images_labeled"
"""Share of the unlabeled images with a pseudo-label."""
MASKS_REPLACED: Final = "masks_replaced"
"""Share of the pseudo-labels whose mask is not the teacher's."""
IMAGES_REFINED: Final = "images_refined"
IOU_WITH_TEACHER: Final = "iou_with_teacher"
PASTED_PER_IMAGE: Final = "pasted_per_image"
IMAGES_PASTED_INTO: Final = "images_pasted_into"

PIXELS_TAUGHT: Final = "pixels_taught"
"""Share of the unlabeled pixels that have a pseudo-label."""
PIXELS_BY_ZERO_SHOT: Final = "pixels_by_zero_shot"
VIEWS_MIXED: Final = "views_mixed"
"""Share of the strong views that got a rectangle of another image."""
TRUST: Final = "trust"
"""Weight of the loss on zero-shot labels."""


class ComponentCounts:
    """Sums by name and the number of things they are sums over; a sum stays on its device until it is taken."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor | float, float]] = {}

    def add(self, name: str, total: Tensor | float, number: float) -> None:
        """Add `total` over `number` things (images, masks, pixels)."""
        before, count = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = (before + total, count + number)

    def take(self) -> dict[str, tuple[float, float]]:
        """Return everything since the last call, as name -> (sum, number)."""
        found = {name: (float(total), number) for name, (total, number) in self._sums.items()}
        self._sums = {}
        return found
