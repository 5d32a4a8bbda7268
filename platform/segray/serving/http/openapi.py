"""What FastAPI cannot see of the API for its OpenAPI document: bodies that come in three forms, answers in two."""

from typing import Any, Final

import pydantic
from fastapi import FastAPI
from pydantic.json_schema import JsonSchemaMode, models_json_schema

import segray
from segray.serving.http.problems import Problem
from segray.serving.http.requests import FORM, JSON, ClicksBody, MasksBody, SegmentBody, SegmentFields
from segray.serving.http.schemas import MasksAnswer, SegmentAnswer

_REF: Final = "#/components/schemas/"
_FILE: Final = {"type": "string", "format": "binary"}
_SCHEMAS: Final[list[tuple[type[pydantic.BaseModel], JsonSchemaMode]]] = [
    (SegmentBody, "validation"),
    (SegmentFields, "validation"),
    (MasksBody, "validation"),
    (SegmentAnswer, "serialization"),
    (MasksAnswer, "serialization"),
    (Problem, "serialization"),
]
_TITLE: Final = "segray"
_ABOUT: Final = "Instance segmentation of images by a student, and masks by clicks."


def segment_body() -> dict[str, Any]:
    """`POST /v1/segment`."""
    files = {"type": "array", "items": _FILE, "minItems": 1}
    fields = {
        name: {"$ref": f"{_REF}{SegmentFields.__name__}/properties/{name}"} for name in SegmentFields.model_fields
    }
    return _body(SegmentBody, {"images": files, **fields}, ["images"])


def masks_body() -> dict[str, Any]:
    """`POST /v1/masks`."""
    clicks = {"$ref": _REF + ClicksBody.__name__}
    body = _body(MasksBody, {"image": _FILE, "clicks": clicks}, ["image"])
    body["requestBody"]["content"][FORM]["encoding"] = {"clicks": {"contentType": JSON}}
    query = {"name": "clicks", "in": "query", "required": False, "content": {JSON: {"schema": clicks}}}
    about = "What is marked, where the body does not say it; comes first where both do."
    return {**body, "parameters": [{**query, "description": about}]}


def segment_answer() -> dict[str, Any]:
    """`POST /v1/segment`."""
    return {
        "description": "What was found: JSON, or with `format` label or overlay a PNG. Of `label`, palette index 0 is "
        "background and others are class id + 1; where the first class is `background`, they are the class id, and 255 "
        "is where nothing is known.",
        "content": {
            JSON: {"schema": {"$ref": _REF + SegmentAnswer.__name__}},
            "image/png": {"schema": _FILE},
        },
    }


def masks_answer() -> dict[str, Any]:
    """`POST /v1/masks`."""
    return {"description": "Masks.", "content": {JSON: {"schema": {"$ref": _REF + MasksAnswer.__name__}}}}


def _body(model: type[pydantic.BaseModel], fields: dict[str, Any], required: list[str]) -> dict[str, Any]:
    form = {"type": "object", "properties": fields, "required": required}
    raw = {"schema": _FILE}
    return {
        "requestBody": {
            "required": True,
            "content": {
                FORM: {"schema": form},
                JSON: {"schema": {"$ref": _REF + model.__name__}},
                "application/octet-stream": raw,
                "image/*": raw,
            },
        }
    }


class DocumentedFastAPI(FastAPI):
    """A FastAPI that has the schemas of the bodies and answers that its routes name."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            title=_TITLE,
            description=_ABOUT,
            version=segray.__version__,
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            **settings,
        )

    def openapi(self) -> dict[str, Any]:
        """The document."""
        document = super().openapi()
        _, schemas = models_json_schema(_SCHEMAS, by_alias=True, ref_template=_REF + "{model}")
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
        return document
