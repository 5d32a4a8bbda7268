"""Sources: what a config names, as images to go through and, where there are any, their annotations."""

from collections.abc import Callable, Mapping
from typing import Any

from segray.config import sources as configs
from segray.formats.coco_reader import CocoImages
from segray.formats.folder import FolderImages
from segray.formats.label_maps import LabelMaps
from segray.formats.label_studio.reader import LabelStudioTasks
from segray.formats.manifest import ManifestImages
from segray.formats.source import Source
from segray.formats.stored import StoredLabels, stored_classes
from segray.formats.voc_reader import VocImages

_KINDS: Mapping[type, Callable[[Any], Source]] = {
    configs.FolderSource: FolderImages,
    configs.CocoSource: CocoImages,
    configs.VocSource: VocImages,
    configs.ManifestSource: ManifestImages,
    configs.LabelStudioSource: LabelStudioTasks,
    configs.StoreSource: StoredLabels,
}


def open_source(config: configs.Source) -> Source:
    """The source that a config names. Annotation files are read and checked here; images are not looked at.

    Raises:
        SourceError: what the config points to cannot be read, or is not what its kind says.
    """
    return _KINDS[type(config)](config)


__all__ = [
    "CocoImages",
    "FolderImages",
    "LabelMaps",
    "LabelStudioTasks",
    "ManifestImages",
    "Source",
    "VocImages",
    "open_source",
    "stored_classes",
]
