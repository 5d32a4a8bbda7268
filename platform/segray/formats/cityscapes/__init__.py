"""Cityscapes as it is distributed: `leftImg8bit` beside `gtFine` or `gtCoarse`."""

from typing import Literal

import pydantic

from segray.config.base import SettingError, config
from segray.config.uris import InputUri
from segray.formats.format import Format, Reader, SourceSettings


@config
class CityscapesSource(SourceSettings):
    """A split of Cityscapes as it is distributed. Image ids are paths below `leftImg8bit` (docs/data.md#cityscapes)."""

    kind: Literal["cityscapes"] = "cityscapes"
    uri: InputUri
    """Folder that holds `leftImg8bit` and the labels' folder."""
    split: Literal["train", "val", "train_extra", "test"]
    """Folder of the split. The labels of test are withheld, so that its images have none."""
    level: Literal["instance", "pixel"]
    """Level of the labels. instance: a mask for each object of the 8 classes with objects. pixel: a mask for each of
    the 19 classes that an image shows; all else is unknown."""
    labels: Literal["gtFine", "gtCoarse"] = "gtFine"
    """Folder of the labels; gtCoarse is the only one of train_extra."""
    label_files: Literal["instanceIds", "polygons", "labelTrainIds"] = "instanceIds"
    """Files to read the labels from. All give the same masks, but labelTrainIds, which cityscapesScripts writes, knows
    no objects."""

    @pydantic.model_validator(mode="after")
    def _objects_are_known(self) -> "CityscapesSource":
        if self.level == "instance" and self.label_files == "labelTrainIds":
            raise SettingError("label_files", 'labelTrainIds knows no objects: give "instanceIds" or "polygons"')
        return self


FORMAT = Format(reader=Reader(CityscapesSource, "segray.formats.cityscapes.reader:CityscapesImages"))
