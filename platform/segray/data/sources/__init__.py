"""Sources: what a config names, as images to go through and, where there are any, their annotations."""

from collections.abc import Callable, Mapping
from typing import Any

from segray.config import sources as configs
from segray.config.students import Semantic, Student
from segray.data.sources.coco import CocoImages
from segray.data.sources.folder import Folder
from segray.data.sources.label_maps import LabelMaps
from segray.data.sources.label_studio import LabelStudioTasks
from segray.data.sources.manifest import Manifest
from segray.data.sources.source import Source
from segray.data.sources.stored import StoredLabels, stored_classes
from segray.data.sources.voc import VocFolders

_KINDS: Mapping[type, Callable[[Any], Source]] = {
    configs.FolderSource: Folder,
    configs.CocoSource: CocoImages,
    configs.VocSource: VocFolders,
    configs.ManifestSource: Manifest,
    configs.LabelStudioSource: LabelStudioTasks,
    configs.StoreSource: StoredLabels,
}


def open_source(config: configs.Source) -> Source:
    """The source that a config names. Annotation files are read and checked here; images are not looked at.

    Raises:
        SourceError: what the config points to cannot be read, or is not what its kind says.
    """
    return _KINDS[type(config)](config)


def open_for(student: Student, config: configs.Source) -> Source:
    """The source as such a student learns from it: label maps for semantic ones.

    Raises:
        SourceError: as `open_source`.
    """
    opened = open_source(config)
    return LabelMaps(opened, background=student.background) if isinstance(student, Semantic) else opened


__all__ = [
    "CocoImages",
    "Folder",
    "LabelMaps",
    "LabelStudioTasks",
    "Manifest",
    "Source",
    "VocFolders",
    "open_for",
    "open_source",
    "stored_classes",
]
