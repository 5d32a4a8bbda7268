"""AP of instances by COCO's protocol, and beside it by that of cityscapesScripts where a config asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from segray.config.types import ApProtocol
from segray.evaluation.average_precision import ApResult, AveragePrecision
from segray.evaluation.cityscapes_precision import CityscapesApResult, CityscapesPrecision
from segray.masks.instances import Instances


@dataclass(frozen=True, kw_only=True)
class InstanceResult:
    """Average precision by each protocol that was asked for."""

    coco: ApResult
    cityscapes: CityscapesApResult | None

    @property
    def num_images(self) -> int:
        """Images measured on."""
        return self.coco.num_images

    def figures(self) -> dict[str, float]:
        """Return the figures by name, without what there was nothing to measure on."""
        return self.coco.figures() | (self.cityscapes.figures() if self.cityscapes is not None else {})


class InstanceScores:
    """What was found and what is true, until the result is asked for. Pickles; merges in any order."""

    def __init__(self, classes: Sequence[str], max_dets: int = 100, protocol: ApProtocol = "coco") -> None:
        """`classes` are names by class id; COCO's protocol takes the best `max_dets` of an image and class."""
        self.coco = AveragePrecision(classes, max_dets)
        self.cityscapes = CityscapesPrecision(classes) if protocol == "cityscapes" else None

    def add(self, image_id: str, found: Instances, true: Instances) -> None:
        """Add an image.

        Raises:
            ValueError: as of `AveragePrecision.add`.
        """
        self.coco.add(image_id, found, true)
        if self.cityscapes is not None:
            self.cityscapes.add(image_id, found, true)

    def merge(self, other: "InstanceScores") -> None:
        """Take in what another worker has.

        Raises:
            ValueError: it counts otherwise, or an image is in both.
        """
        if (self.cityscapes is None) != (other.cityscapes is None):
            raise ValueError("scores by different protocols cannot be merged")
        self.coco.merge(other.coco)
        if self.cityscapes is not None and other.cityscapes is not None:
            self.cityscapes.merge(other.cityscapes)

    def __len__(self) -> int:
        return len(self.coco)

    def result(self) -> InstanceResult:
        """Return AP over all images so far."""
        cityscapes = self.cityscapes.result() if self.cityscapes is not None else None
        return InstanceResult(coco=self.coco.result(), cityscapes=cityscapes)
