"""What an earlier stage left of the images that a later one goes through."""

from segray.config.label import ImageLimits
from segray.errors import ImageError
from segray.images import decoding
from segray.labels.labeler import Pixels
from segray.masks.instances import Instances
from segray.store.lookup import StoreLookup
from segray.store.rows import ImageRow, LabeledRow


class PreviousRows:
    """A store's rows, by image and version."""

    def __init__(self, store_uri: str) -> None:
        """Map the store's rows; a copy per process.

        Raises:
            StoreError: it is not there, or damaged.
        """
        self._lookup = StoreLookup(store_uri)

    def row(self, image: ImageRow) -> LabeledRow:
        """The image's row; it holds masks.

        Raises:
            ImageError: the store does not hold this version of it, or refused it, for whose reason then.
        """
        found = self._lookup.row(image.image_id)
        if found is None or found.image.version != image.version:
            raise ImageError(
                "not-labeled", f"{self._lookup.store_uri} does not hold this version of it: label it there first"
            )
        if found.error is not None:
            raise ImageError(found.error, found.detail or "")
        return found

    def masks(self, image: ImageRow) -> Instances:
        """The image's masks.

        Raises:
            ImageError: as `row`.
        """
        found = self.row(image).instances
        assert found is not None  # Where there is no error there are masks.
        return found

    def with_pixels(self, image: ImageRow, limits: ImageLimits) -> tuple[tuple[Pixels, Instances], str]:
        """The image's pixels and masks, and the SHA-256 of its file.

        Raises:
            ImageError: as `row`, or the image cannot be read, or is not what the masks are of.
        """
        masks = self.masks(image)
        pixels, sha256 = decoding.load(image.uri, limits.max_pixels, limits.bands)
        if pixels.shape[:2] != masks.size_hw:
            raise ImageError("other-size", f"{pixels.shape[:2]} pixels, its masks are of {masks.size_hw}")
        return (pixels, masks), sha256
