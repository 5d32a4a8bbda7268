"""Boxes of a COCO file's annotations, for masks to be made of them. Annotations need no segmentation for it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segray.masks.object_prompts import ObjectPrompts

_KNOWN = frozenset(("id", "image_id", "category_id", "bbox", "score", "segmentation", "area", "iscrowd", "attributes"))
"""Keys of an annotation that are no further attribute."""


def prompts_of(
    annotations: Sequence[Mapping[str, Any]], classes: Mapping[Any, int], size_hw: tuple[int, int] | None
) -> ObjectPrompts:
    """Return the boxes of an image's annotations.

    Args:
        annotations: of one image; those without a usable `bbox` have no box.
        classes: class index by category id.
        size_hw: of the image, as the file has it.
    """
    return ObjectPrompts.build(
        boxes_xyxy=np.array([_box(one.get("bbox")) for one in annotations]).reshape(-1, 4),
        scores=[_number(one.get("score")) for one in annotations],
        classes=[classes[one["category_id"]] for one in annotations],
        ids=[str(one.get("id", "")) for one in annotations],
        attributes=[_attributes(one) for one in annotations],
        size_hw=size_hw,
    )


def _box(bbox: object) -> list[float]:
    """Return corners of x, y, width, height; NaN where there are no four numbers."""
    if not isinstance(bbox, list) or len(bbox) != 4:
        return [np.nan] * 4
    x, y, width, height = map(_number, bbox)
    return [x, y, x + width, y + height]


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.nan


def _attributes(annotation: Mapping[str, Any]) -> str:
    found = {key: value for key, value in annotation.items() if key not in _KNOWN}
    given = annotation.get("attributes")
    found |= given if isinstance(given, dict) else {}
    return json.dumps(found, ensure_ascii=False, sort_keys=True) if found else ""
