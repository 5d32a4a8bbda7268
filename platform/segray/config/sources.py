"""Where images come from: one class per kind of source."""

from typing import Annotated, Final, Literal

import pydantic

from segray.config.base import config

Uri = Annotated[str, pydantic.StringConstraints(min_length=1, strip_whitespace=True)]
"""A local path, or a URI that pyarrow.fs or fsspec opens (s3://, gs://, https://, ...)."""
STORE: Final = "a store's folder"
StoreUri = Annotated[Uri, STORE]
"""Of a store that must be there before a job starts."""


@config
class FolderSource:
    """A folder of images, searched recursively; ids are paths below it."""

    kind: Literal["folder"] = "folder"
    uri: Uri
    """The folder."""
    name: str | None = None
    """What names this data set in a store; the URI where not given. Give one to move the data without labeling anew."""


@config
class CocoSource:
    """A COCO JSON file with its image folder; ids are file names."""

    kind: Literal["coco"] = "coco"
    uri: Uri
    """The folder that the file names are relative to."""
    annotations: Uri
    """The JSON file."""
    name: str | None = None
    """As for a folder."""


@config
class VocSource:
    """An image folder beside a folder of index PNGs of the same stems, as in Pascal VOC; ids are paths below it."""

    kind: Literal["voc"] = "voc"
    uri: Uri
    """The image folder (VOC: JPEGImages)."""
    masks: Uri
    """The folder of class maps (VOC: SegmentationClass): 0 background, 255 unknown."""
    classes: tuple[str, ...] = ()
    """Class names by index, background first; numbers where not given."""
    name: str | None = None
    """As for a folder."""


@config
class ManifestSource:
    """A Parquet file or folder of them with a `uri` column, and `image_id` and `version` where known."""

    kind: Literal["manifest"] = "manifest"
    uri: Uri
    """The Parquet file or folder."""
    name: str | None = None
    """As for a folder."""


@config
class LabelStudioSource:
    """A Label Studio JSON export with brush or polygon results; ids are the tasks' image names."""

    kind: Literal["label-studio"] = "label-studio"
    uri: Uri
    """The folder that the image names are relative to."""
    annotations: Uri
    """The exported JSON file."""
    name: str | None = None
    """As for a folder."""


@config
class StoreSource:
    """What a label job with classes left: its images and its masks as their labels; refused images are left out."""

    kind: Literal["store"] = "store"
    uri: Uri
    """The store."""
    name: str | None = None
    """As for a folder."""


Source = Annotated[
    FolderSource | CocoSource | VocSource | ManifestSource | LabelStudioSource | StoreSource,
    pydantic.Field(discriminator="kind"),
]
