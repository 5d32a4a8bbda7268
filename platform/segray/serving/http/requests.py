"""What callers send: images as multipart form, raw bytes or JSON, and what is asked of them.

Knows bodies and their bounds. Knows nothing of pixels: an upload is bytes that call themselves an image.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

import pydantic
from fastapi import Request
from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field as FormField
from python_multipart.multipart import File as FormFile
from python_multipart.multipart import parse_options_header

from segray.config.serve import RequestLimits
from segray.serving.backend import ImageClicks, Task
from segray.serving.http.problems import ProblemError, invalid

RAW: Final = ("application/octet-stream", "image/")
"""Beginnings of the media types whose body is one image; what it is, its own first bytes say."""
JSON: Final = "application/json"
FORM: Final = "multipart/form-data"
SCORE_THRESHOLD: Final[Mapping[Task, float]] = {"instances": 0.3, "semantic": 0.0}
"""Of callers who give none; a label map has a class for every pixel, however sure the student is of it."""
MAX_INSTANCES: Final[Mapping[Task, int]] = {"instances": 100, "semantic": 255}

_MB: Final = 1_000_000
_MOST_IMAGES: Final = 1000
"""Largest number of images in JSON, whatever the config's `max_images`, so that no long list is validated in vain."""
_MOST_FIELDS: Final = 20
"""Largest number of fields of a form, beside its files."""
_DATA_URL_LENGTH: Final = 100
"""Number of characters in which the head of a data URL must end."""
_URL_SAFE: Final = str.maketrans("-_", "+/")
_NAME_LENGTH: Final = 200

Score = Annotated[float, pydantic.Field(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[float, pydantic.Field(allow_inf_nan=False)]


class _Body(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True, val_json_bytes="base64")


def _from_base64(text: object) -> bytes:
    """Return the bytes of base64, which may be wrapped into lines or be a data URL.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(text, str):
        raise ValueError("must be text: the image file in base64")  # noqa: TRY004 - pydantic takes only this
    head, comma, rest = text[:_DATA_URL_LENGTH].partition(",")
    if text.startswith("data:") and comma:
        if not head.endswith(";base64"):
            raise ValueError("a data URL must be in base64: data:image/png;base64,...")
        text = rest + text[_DATA_URL_LENGTH:]
    try:
        return base64.b64decode("".join(text.split()).translate(_URL_SAFE), validate=True)
    except ValueError:
        raise ValueError("must be base64, as `base64 FILE` prints it, or a data URL in base64") from None


class ImageBody(_Body):
    """One image in JSON."""

    data: Annotated[bytes, pydantic.PlainValidator(_from_base64, json_schema_input_type=str)] = pydantic.Field(
        description="The image file in base64.",
        json_schema_extra={"format": "byte", "contentEncoding": "base64"},
    )
    name: str = pydantic.Field(default="", max_length=_NAME_LENGTH, description="Comes back in the answer.")


class SegmentFields(_Body):
    """What a form or JSON may say beside the images."""

    score_threshold: Score | None = pydantic.Field(default=None, description="As in the query, which comes first.")
    max_instances: int | None = pydantic.Field(default=None, ge=1, description="As in the query, which comes first.")


class SegmentBody(SegmentFields):
    """Images to segment, in JSON."""

    images: list[ImageBody] = pydantic.Field(min_length=1, max_length=_MOST_IMAGES)


class ClicksBody(_Body):
    """What is marked on an image: points, a box, or both; pixels of the image, upright."""

    points: list[tuple[Number, Number]] = pydantic.Field(default=[], description="x, y of each point.")
    labels: list[Literal[0, 1]] = pydantic.Field(
        default=[], description="Per point: 1 inside the object, 0 outside of it. None given: all are inside."
    )
    box: tuple[Number, Number, Number, Number] | None = pydantic.Field(
        default=None, description="x, y of the upper left corner, x, y of the lower right one."
    )

    def clicks(self) -> ImageClicks:
        """As a backend takes them."""
        labels = self.labels or [1] * len(self.points)
        return ImageClicks(points_xy=tuple(self.points), labels=tuple(labels), box_xyxy=self.box)


class MasksBody(_Body):
    """An image and what is marked on it, in JSON."""

    image: ImageBody
    clicks: ClicksBody | None = pydantic.Field(default=None, description="As in the query, which comes first.")


class MasksFields(_Body):
    """What a form may say beside the image."""

    clicks: pydantic.Json[ClicksBody] | None = None


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An image as it came."""

    data: bytes
    name: str = ""
    """What the caller calls it."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """A request's body, read in full, within its bound."""

    kind: str
    """Its media type without parameters, in lower case."""
    content_type: str
    """Its media type as given."""
    data: bytes


@dataclass(frozen=True, kw_only=True)
class SegmentRequest:
    """What `POST /v1/segment` is asked for."""

    uploads: tuple[Upload, ...]
    score_threshold: float | None
    """None: the usual one of what the student finds, `SCORE_THRESHOLD`."""
    max_instances: int | None
    """None: `MAX_INSTANCES`."""


@dataclass(frozen=True, kw_only=True)
class MasksRequest:
    """What `POST /v1/masks` is asked for."""

    upload: Upload
    clicks: ImageClicks


Model = TypeVar("Model", bound=pydantic.BaseModel)


async def read_body(request: Request, limits: RequestLimits) -> Body:
    """The body, counted while it comes: what it says of its own length is believed only where it is too much.

    Raises:
        ProblemError: 413 too large, 415 of no kind that is read.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise ProblemError(
            415, "content-encoding", f"Content-Encoding {encoding[:80]!r} is not read: send the body as it is"
        )
    content_type = request.headers.get("content-type", "")
    kind = parse_options_header(content_type)[0].decode("latin-1")
    if kind not in (JSON, FORM) and not kind.startswith(RAW):
        raise ProblemError(
            415, "media-type", f"the body must be {FORM}, {JSON}, {RAW[0]} or an image, not {kind[:80] or 'unnamed'!r}"
        )
    most = int(limits.max_body_mb * _MB)
    too_large = ProblemError(413, "body-too-large", f"a request holds at most {limits.max_body_mb:g} MB")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > most:
        raise too_large
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise too_large
        chunks.append(chunk)
    return Body(kind=kind, content_type=content_type, data=b"".join(chunks))


def parse_segment(
    body: Body, limits: RequestLimits, *, score_threshold: float | None, max_instances: int | None
) -> SegmentRequest:
    """The images of a body of any form; the query's parameters come before those of the body.

    Raises:
        ProblemError: 400, 413 or 422.
    """
    inside: SegmentFields | None = None
    if body.kind == JSON:
        whole = inside = _json(SegmentBody, body.data)
        uploads = [Upload(data=one.data, name=one.name) for one in whole.images]
    elif body.kind == FORM:
        form = _form(body, "images", limits)
        inside = _fields(form.fields, SegmentFields)
        uploads = form.uploads
    else:
        uploads = [Upload(data=body.data)]
    if not uploads:
        raise ProblemError(422, "no-image", "the form holds no file in the field `images`")
    if len(uploads) > limits.max_images:
        raise _too_many(limits)
    most = _first(max_instances, inside.max_instances if inside else None)
    if most is not None and most > limits.max_instances:
        raise ProblemError(422, "invalid", f"max_instances is at most {limits.max_instances}")
    return SegmentRequest(
        uploads=tuple(uploads),
        score_threshold=_first(score_threshold, inside.score_threshold if inside else None),
        max_instances=most,
    )


def parse_masks(body: Body, limits: RequestLimits, *, clicks: str | None) -> MasksRequest:
    """The image and the clicks of a body of any form; `clicks` is the query's, JSON.

    Raises:
        ProblemError: 400, 413 or 422.
    """
    uploads, inside = [Upload(data=body.data)], None
    if body.kind == JSON:
        whole = _json(MasksBody, body.data)
        uploads, inside = [Upload(data=whole.image.data, name=whole.image.name)], whole.clicks
    elif body.kind == FORM:
        form = _form(body, "image", limits)
        uploads, inside = form.uploads, _fields(form.fields, MasksFields).clicks
    if len(uploads) != 1:
        raise ProblemError(422, "no-image", f"one file in the field `image` is needed, {len(uploads)} are given")
    marked = inside if clicks is None else _json(ClicksBody, clicks, "clicks")
    if marked is None:
        raise ProblemError(422, "no-clicks", "say in `clicks`, in the query or the body, what is marked")
    return MasksRequest(upload=uploads[0], clicks=marked.clicks())


T = TypeVar("T")


def _first(given: T | None, inside: T | None) -> T | None:
    return given if given is not None else inside


def _too_many(limits: RequestLimits) -> ProblemError:
    return ProblemError(413, "too-many-images", f"a request holds at most {limits.max_images} images")


def _json(model: type[Model], data: bytes | str, where: str = "") -> Model:
    try:
        return model.model_validate_json(data)
    except pydantic.ValidationError as error:
        raise invalid(error, where) from None


def _fields(given: Mapping[str, str], model: type[Model]) -> Model:
    """The fields of a form, which are text; one that the model does not know is refused."""
    try:
        return model.model_validate_strings(given)
    except pydantic.ValidationError as error:
        raise invalid(error) from None


@dataclass(frozen=True)
class _Form:
    uploads: list[Upload]
    fields: dict[str, str]


def _form(body: Body, images: str, limits: RequestLimits) -> _Form:
    """The files of a form's field `images`, and its other fields. All in memory: the body is bounded already."""
    form, ended = _Form([], {}), []

    def add_file(file: FormFile) -> None:
        if _text(file.field_name) != images:
            raise ProblemError(422, "unknown-field", f"files belong into the form's field `{images}`")
        if len(form.uploads) == limits.max_images:
            raise _too_many(limits)
        file.file_object.seek(0)
        form.uploads.append(Upload(data=file.file_object.read(), name=_text(file.file_name)[:_NAME_LENGTH]))

    def add_field(field: FormField) -> None:
        if _text(field.field_name) == images:
            raise ProblemError(422, "no-image", f"the form's field `{images}` must be a file, with a file name")
        if len(form.fields) == _MOST_FIELDS:
            raise ProblemError(422, "unknown-field", f"a form has at most {_MOST_FIELDS} fields beside its files")
        form.fields[_text(field.field_name)] = _text(field.value)

    _feed(body, add_field, add_file, lambda: ended.append(True))
    if not ended:
        raise ProblemError(400, "malformed", "the form ends before its last boundary")
    return form


def _feed(
    body: Body,
    add_field: Callable[[FormField], None],
    add_file: Callable[[FormFile], None],
    end: Callable[[], Any],
) -> None:
    boundary = parse_options_header(body.content_type)[1].get(b"boundary")
    in_memory = {"MAX_MEMORY_FILE_SIZE": len(body.data) + 1, "UPLOAD_ERROR_ON_BAD_CTE": True}
    try:
        parser = FormParser(FORM, add_field, add_file, end, boundary=boundary, config=in_memory)
        parser.write(body.data)
        parser.finalize()
    except FormParserError:
        raise ProblemError(400, "malformed", "the body is no multipart form, or has no boundary") from None


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
