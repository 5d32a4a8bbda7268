"""A student with its device, for a person's images: paths, PIL images, arrays. Knows nothing of runs or serving."""

import numpy as np

from segray.images.inputs import ImageLike, pixels_of
from segray.masks.instances import Instances
from segray.masks.semantic import Map, paint
from segray.models.build import load_student
from segray.models.semantic import SemanticStudent
from segray.models.student import Student


class StudentPredictor:
    """A trained student, loaded and ready to predict.

    Example:
        >>> student = segray.load_student("out/runs/promoted/street-v1.json")
        >>> found, = student.predict(["a.jpg"])
        >>> student.classes[found.classes[0]], found.scores[0]
    """

    def __init__(self, student: Student, folder: str) -> None:
        self.student = student
        self.folder = folder
        """The folder that it was loaded from."""

    @classmethod
    def load(cls, folder: str, device: str) -> "StudentPredictor":
        """Load the student of a folder onto a torch device.

        Raises:
            BackendError: no student is there, or it cannot be read.
        """
        return cls(load_student(folder, device), folder)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by class id."""
        return self.student.classes

    @property
    def predicts_maps(self) -> bool:
        """Whether it predicts label maps, not instances."""
        return isinstance(self.student, SemanticStudent)

    def predict(
        self,
        images: ImageLike | list[ImageLike] | tuple[ImageLike, ...],
        *,
        images_per_batch: int = 4,
        score_threshold: float = 0.0,
    ) -> list[Instances] | list[Map]:
        """Predict on images of any sizes.

        Args:
            images: a list of paths or URIs, PIL images, and arrays (H, W, 3) uint8 RGB, mixed as you like; one image
                alone counts as a list of one.
            images_per_batch: images opened and predicted at once.
            score_threshold: leave out instances with a lower score, in [0, 1]; label maps have no scores.

        Returns:
            Per image: `Instances`, best first, of a student of instances; a label map (H, W) uint8 of class ids of a
            semantic student.

        Raises:
            ImageError: a file cannot be read as an image.
            TypeError: something that is no image.
        """
        several = list(images) if isinstance(images, list | tuple) else [images]
        found: list[Instances] = []
        for start in range(0, len(several), images_per_batch):
            found += self.student.predict([pixels_of(one) for one in several[start : start + images_per_batch]])
        if self.predicts_maps:
            return [paint(one) for one in found]
        return [one.filter(one.scores >= np.float32(score_threshold)) for one in found]

    def __repr__(self) -> str:
        what = "label maps" if self.predicts_maps else "instances"
        return f"StudentPredictor({self.student.settings.kind}, {what}, {len(self.classes)} classes, {self.folder})"
