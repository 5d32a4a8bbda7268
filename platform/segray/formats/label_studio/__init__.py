"""Label Studio: its JSON export as a source, and pre-annotations for it."""

from typing import Literal

from segray.config.base import config
from segray.config.uris import InputUri
from segray.formats.format import Format, Reader, SourceSettings, Writer


@config
class LabelStudioSource(SourceSettings):
    """A Label Studio JSON export with brush or polygon results. Image ids are the tasks' image names."""

    kind: Literal["label-studio"] = "label-studio"
    uri: InputUri
    """Folder to which the image names are relative."""
    annotations: InputUri
    """Path or URI of the exported JSON file."""
    predictions: bool = False
    """Take the first prediction of a task that nobody has finished, such as those that `segray export` writes."""


FORMAT = Format(
    reader=Reader(LabelStudioSource, "segray.formats.label_studio.reader:LabelStudioTasks", reads_annotations=True),
    writers=[
        Writer(
            "label-studio",
            "tasks with brush masks as predictions, to be corrected in Label Studio",
            "segray.formats.label_studio.writer:export_label_studio",
            model_version_key="model_version",
        )
    ],
)
