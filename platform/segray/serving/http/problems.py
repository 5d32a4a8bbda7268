"""Refusals and failures as people and programs read them: application/problem+json (RFC 9457), for every error.

A problem says what was wrong with the request, never how the server is made: no path, class name or traceback. Knows
HTTP; knows nothing of images or models.
"""

import logging
import math
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import pydantic
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from segray.errors import SegrayError
from segray.serving.backend import BusyError, UnreadyError
from segray.serving.http.headers import HEADERS

MEDIA_TYPE: Final = "application/problem+json"
UNREADY_RETRY_S: Final = 5
"""When a caller may ask again after an answer of 503, in seconds."""

CUT_OFF: Final = "cut-off"
"""Reason of a request whose caller hung up."""
MOST_FLAWS: Final = 20
"""Largest number of flaws that an answer lists: one page."""
MOST_COUNTED: Final = 1000
"""Largest number of flaws that are listed at all; of more, only the number is told."""
_WHERE_LENGTH: Final = 200
"""Longest text of a flaw's place, which repeats what a caller made up."""
REFUSED: Final = "segray.refused"
"""Where in a request's scope the reason of its problem is left."""
_LOG: Final = logging.getLogger(__name__)


class InvalidField(pydantic.BaseModel):
    """One thing that was wrong with a request."""

    where: str = pydantic.Field(description="Part of the request, e.g. `query.score_threshold` or `images.2`.")
    reason: str = pydantic.Field(description="A short stable word.")
    detail: str


class Problem(pydantic.BaseModel):
    """An error (RFC 9457). `reason` is stable, texts may change."""

    type: str = pydantic.Field(default="about:blank", description="As the RFC has it where the status says the kind.")
    title: str = pydantic.Field(description="The status in words.")
    status: int
    detail: str = pydantic.Field(description="What was wrong, in a sentence.")
    reason: str = pydantic.Field(description="A short stable word.")
    errors: list[InvalidField] = pydantic.Field(
        default=[], description="What was wrong, one by one, where that is known."
    )
    instance: str | None = pydantic.Field(default=None, description="Names this failure in the server's log.")


class ProblemError(SegrayError):
    """A request that gets no answer but a problem."""

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        *,
        flaws: Sequence[InvalidField] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, reason, detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.flaws = tuple(flaws)
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.detail}"


def invalid(error: pydantic.ValidationError | RequestValidationError, where: str = "") -> ProblemError:
    """Return what pydantic found wrong with a request, or with its part `where`. What was given is not repeated.

    An answer lists at most `MOST_FLAWS`. Of more than `MOST_COUNTED` only the number is told, since to list them takes
    seconds.
    """
    if isinstance(error, pydantic.ValidationError):
        if error.error_count() > MOST_COUNTED:
            return ProblemError(422, "invalid", f"{error.error_count()} things are wrong with the request")
        found = list(error.errors(include_url=False, include_input=False, include_context=False))
    else:
        found = list(error.errors())
    flaws = [
        InvalidField(
            where=".".join([where, *map(str, one["loc"])]).strip(".")[:_WHERE_LENGTH],
            reason=one["type"],
            detail=one["msg"],
        )
        for one in found[:MOST_FLAWS]
    ]
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    detail = "; ".join(f"{flaw.where}: {flaw.detail}" for flaw in flaws[:3]) + more
    return ProblemError(422, "invalid", detail, flaws=flaws)


def install(app: FastAPI) -> None:
    """Let every error of the application be answered by a problem."""
    app.add_exception_handler(Exception, _unexpected)
    for kind in (ProblemError, BusyError, UnreadyError, HTTPException, RequestValidationError, ClientDisconnect):
        app.add_exception_handler(kind, _expected)


async def _expected(request: Request, error: Exception) -> Response:
    problem = _problem(error)
    request.scope[REFUSED] = problem.reason
    return answer(problem)


async def _unexpected(request: Request, error: Exception) -> Response:
    name = f"urn:uuid:{uuid.uuid4()}"
    _LOG.error("%s: %s %s failed", name, request.method, request.url.path, exc_info=error)
    detail = "the server failed; its log says why under this instance"
    # What fails is answered outside of all middleware.
    return answer(ProblemError(500, "failed", detail, headers=HEADERS), name)


def _problem(error: Exception) -> ProblemError:
    match error:
        case ProblemError():
            return error
        case BusyError():
            wait = {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
            return ProblemError(429, "busy", "all copies are busy and the queue is full; come again", headers=wait)
        case UnreadyError():
            wait = {"Retry-After": str(UNREADY_RETRY_S)}
            return ProblemError(503, "not-ready", "no model can answer yet; come again", headers=wait)
        case RequestValidationError():
            return invalid(error)
        case ClientDisconnect():
            return ProblemError(400, CUT_OFF, "the upload ended before the request did")
        case HTTPException():
            return _of_framework(error)
    raise error


def _of_framework(error: HTTPException) -> ProblemError:
    """What routing refuses: no such path, no such method."""
    phrase = HTTPStatus(error.status_code).phrase
    detail = _DETAILS.get(error.status_code, phrase)
    return ProblemError(error.status_code, phrase.lower().replace(" ", "-"), detail, headers=error.headers)


def answer(problem: ProblemError, instance: str | None = None) -> Response:
    """Return the answer to a request that gets none but a problem; `instance` names a failure in the log."""
    body = Problem(
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        reason=problem.reason,
        errors=list(problem.flaws),
        instance=instance,
    )
    text = body.model_dump_json(exclude_none=True)
    return Response(text, status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


_DETAILS: Final = {
    404: "there is nothing at this path",
    405: "this path takes other methods, see the header `Allow`",
}
_MEANINGS: Final[Mapping[int, str]] = {
    400: "The body is cut off, or no form at all.",
    401: "No key, or one that is not known.",
    406: "An answer of another kind is asked for than there is.",
    408: "The request came too slowly.",
    413: "The request, an image, or their number is too large.",
    415: "The body is of a kind that is not read.",
    422: "A parameter is wrong, or an image cannot be read: `errors` says which and why.",
    429: "All copies are busy: come again after `Retry-After` seconds.",
    500: "The server failed.",
    503: "No model can answer yet: come again after `Retry-After` seconds.",
    504: "The request took too long.",
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These problems for a route's OpenAPI."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in statuses}
