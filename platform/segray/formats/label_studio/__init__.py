"""Label Studio: its JSON export as a source, and pre-annotations for it."""

from segray.formats.format import Format, Reader, Writer
from segray.formats.label_studio.reader import LabelStudioSource, LabelStudioTasks
from segray.formats.label_studio.writer import export_label_studio

FORMAT = Format(
    reader=Reader(LabelStudioSource, LabelStudioTasks, reads_annotations=True),
    writers=[
        Writer(
            "label-studio",
            "tasks with brush masks as predictions, to be corrected in Label Studio",
            export_label_studio,
            model_version_key="model_version",
        )
    ],
)

__all__ = ["FORMAT", "LabelStudioSource", "LabelStudioTasks", "export_label_studio"]
