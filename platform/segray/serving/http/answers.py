"""What callers get: instances as JSON with run lengths or polygons, as a label map, or drawn over their image.

The JSON has the shapes of `serving.http.schemas`, and is written without building them. Knows no HTTP and no model.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import cv2
import numpy as np
import numpy.typing as npt
import pydantic_core
from PIL import Image

from segray.formats import polygons
from segray.masks import rle
from segray.masks.instances import Instances
from segray.masks.semantic import UNKNOWN, first_index
from segray.pages import overlay
from segray.serving.backend import ModelInfo, Pixels
from segray.serving.http.images import DecodedImage

Form = Literal["rle", "polygons", "label", "overlay"]
MaskForm = Literal["rle", "polygons"]
"""Those that JSON has."""
JSON: Final = "application/json"
PNG: Final = "image/png"
MEDIA_TYPES: Final[Mapping[Form, str]] = {"rle": JSON, "polygons": JSON, "label": PNG, "overlay": PNG}
_FAST: Final = 1
"""Of PNG's levels of compression: drawn photographs gain little from more."""


def chosen(found: Instances, score_threshold: float, max_instances: int) -> Instances:
    """The best `max_instances` of those with at least this score."""
    return found.filter(np.flatnonzero(found.scores >= score_threshold)[:max_instances])


def segment_json(
    pictures: Sequence[DecodedImage], found: Sequence[Instances], model: ModelInfo, form: MaskForm
) -> bytes:
    """A `SegmentAnswer`."""
    images = [
        {**_about(picture), "instances": [_instance(one, index, model, form) for index in range(len(one))]}
        for picture, one in zip(pictures, found, strict=True)
    ]
    return pydantic_core.to_json({"model": _model(model), "classes": model.classes, "images": images})


def masks_json(picture: DecodedImage, found: Instances, model: ModelInfo, form: MaskForm) -> bytes:
    """A `MasksAnswer`."""
    masks = [{"predicted_iou": _rounded(found.scores[i]), **_shape(found, i, form)} for i in range(len(found))]
    return pydantic_core.to_json({"model": _model(model), **_about(picture), "masks": masks})


def has_label_map(classes: Sequence[str]) -> bool:
    """Whether a label map has values for so many: 0 is background, 255 kept for pixels of which nothing is known."""
    return first_index(classes) + len(classes) <= UNKNOWN


def label_map(found: Instances, classes: Sequence[str]) -> npt.NDArray[np.uint8]:
    """(H, W) class id + 1 of the best instance that covers each pixel, 0 where none does.

    Where the first class is "background": the class id itself, and 255 where no mask lies.
    """
    shift = first_index(classes)
    canvas = np.full(found.size_hw, 0 if shift else UNKNOWN, dtype=np.uint8)
    for index in reversed(range(len(found))):
        x0, mask = _columns(found, index)
        canvas[:, x0 : x0 + mask.shape[1]][mask] = found.classes[index] + shift
    return canvas


def label_png(found: Instances, classes: Sequence[str]) -> bytes:
    """A PNG whose palette indices are `label_map`: classes in the colours of overlays, 0 black, 255 grey."""
    image = Image.fromarray(label_map(found, classes)).convert("P")
    palette = np.zeros((UNKNOWN + 1, 3), dtype=np.uint8)
    shift = first_index(classes)
    palette[1:UNKNOWN] = overlay.colours(UNKNOWN)[1 - shift : UNKNOWN - shift]
    palette[UNKNOWN] = 128
    image.putpalette(palette.tobytes())
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def overlay_png(pixels: Pixels, found: Instances, classes: Sequence[str]) -> bytes:
    """The image with its instances drawn over it, coloured by class; the class "background" is not drawn."""
    objects = found if first_index(classes) else found.filter(found.classes > 0)
    drawn = overlay.draw(pixels, objects, by="class")
    _, encoded = cv2.imencode(".png", drawn[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, _FAST])
    return encoded.tobytes()


def _about(picture: DecodedImage) -> dict[str, Any]:
    height, width = picture.pixels.shape[:2]
    return {"name": picture.name, "height": height, "width": width, "sha256": picture.sha256}


def _model(model: ModelInfo) -> dict[str, str]:
    return {"name": model.name, "weights_sha256": model.weights_sha256}


def _instance(found: Instances, index: int, model: ModelInfo, form: MaskForm) -> dict[str, Any]:
    class_id = int(found.classes[index])
    score = _rounded(found.scores[index])
    return {"class": model.classes[class_id], "class_id": class_id, "score": score, **_shape(found, index, form)}


def _shape(found: Instances, index: int, form: MaskForm) -> dict[str, Any]:
    x0, y0, x1, y1 = found.boxes_xyxy[index].tolist()
    return {
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": int(found.areas[index]),
        "segmentation": _run_lengths(found, index) if form == "rle" else _polygons(found, index),
    }


def _run_lengths(found: Instances, index: int) -> dict[str, Any]:
    return {"size": found.size_hw, "counts": found.counts[index].decode("ascii")}


def _polygons(found: Instances, index: int) -> list[list[int]]:
    x0, mask = _columns(found, index)
    parts = polygons.outline(mask, tolerance_px=polygons.TOLERANCE_PX)
    corner = np.array([x0, 0], dtype=np.int32)
    return [(polygons.bridged(part) + corner).reshape(-1).tolist() for part in parts]


def _columns(found: Instances, index: int) -> tuple[int, npt.NDArray[np.bool_]]:
    """The first column of a mask, and the mask from there to its last one, dense."""
    x0, _, x1, _ = found.boxes_xyxy[index].astype(int).tolist()
    return x0, rle.decode_columns(found.counts[index], found.size_hw, x0, x1)


def _rounded(score: np.float32) -> float:
    return round(float(score), 6)
