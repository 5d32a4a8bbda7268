"""The shapes of answers, as OpenAPI documents them; `serving.http.answers` makes them. Knows nothing else."""

from typing import Literal

import pydantic

from segray.serving.backend import ModelInfo


class Rle(pydantic.BaseModel):
    """A mask as COCO's compressed run lengths."""

    size: tuple[int, int] = pydantic.Field(description="Height, width in pixels.")
    counts: str


Polygons = list[list[int]]
"""COCO's: per part x0, y0, x1, y1, ... along pixel edges; holes are joined in by bridges of no width."""


class ModelAnswer(pydantic.BaseModel):
    """What answered."""

    name: str
    weights_sha256: str


class InstanceAnswer(pydantic.BaseModel):
    """One object; of a semantic student all pixels of one class."""

    class_: str = pydantic.Field(alias="class")
    class_id: int = pydantic.Field(description="Place in `classes`.")
    score: float = pydantic.Field(description="Of a semantic student the mean probability of the mask's pixels.")
    bbox: tuple[float, float, float, float] = pydantic.Field(description="x, y, width, height in pixels, as COCO's.")
    area: int = pydantic.Field(description="Pixels.")
    segmentation: Rle | Polygons


class ImageAnswer(pydantic.BaseModel):
    """What was found on one image."""

    name: str = pydantic.Field(description="As the request had it.")
    height: int = pydantic.Field(description="Pixels, of the upright image.")
    width: int
    sha256: str = pydantic.Field(description="Of the uploaded file.")
    instances: list[InstanceAnswer] = pydantic.Field(description="Best first.")


class SegmentAnswer(pydantic.BaseModel):
    """The answer of `POST /v1/segment` in JSON."""

    model: ModelAnswer
    classes: list[str] = pydantic.Field(description="By class id.")
    images: list[ImageAnswer] = pydantic.Field(description="In the order of the request.")


class MaskAnswer(pydantic.BaseModel):
    """One way to read what was marked."""

    predicted_iou: float
    bbox: tuple[float, float, float, float] = pydantic.Field(description="x, y, width, height in pixels, as COCO's.")
    area: int = pydantic.Field(description="Pixels.")
    segmentation: Rle | Polygons


class MasksAnswer(pydantic.BaseModel):
    """The answer of `POST /v1/masks`."""

    model: ModelAnswer
    name: str
    height: int
    width: int
    sha256: str
    masks: list[MaskAnswer] = pydantic.Field(description="Best first.")


class ModelsAnswer(pydantic.BaseModel):
    """The answer of `GET /v1/models`."""

    models: list[ModelInfo]


class HealthAnswer(pydantic.BaseModel):
    """The answer of `GET /healthz` and `GET /readyz`."""

    status: Literal["alive", "ready"]
