"""The two routes that do the work: images to instances, clicks to masks.

Each reads a body, decodes within bounds, asks the backend, and writes the answer; all but the asking in threads, all
of it within the time limit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final

import anyio
from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import Response

from segray.config.serve import RequestLimits, ServeConfig
from segray.masks.instances import Instances
from segray.serving.backend import Backend, ImageClicks, ModelInfo
from segray.serving.http import answers, openapi
from segray.serving.http.answers import JSON, MEDIA_TYPES, Form, MaskForm
from segray.serving.http.images import DecodedImage, DecodeThreads, ImageDecoder
from segray.serving.http.negotiation import choose
from segray.serving.http.problems import ProblemError, responses
from segray.serving.http.query import only_query
from segray.serving.http.requests import (
    MAX_INSTANCES,
    SCORE_THRESHOLD,
    Body,
    Score,
    SegmentRequest,
    parse_masks,
    parse_segment,
    read_body,
)
from segray.serving.metrics import Observer, observe

_PROBLEMS: Final = (400, 401, 406, 408, 413, 415, 422, 429, 500, 503, 504)
_SEGMENT_QUERY: Final = ("score_threshold", "max_instances", "format")
_MASKS_QUERY: Final = ("clicks", "format")


class Api:
    """What the routes share."""

    def __init__(self, backend: Backend, config: ServeConfig, observers: Sequence[Observer]) -> None:
        self._backend = backend
        self._limits = config.limits
        self._workers = DecodeThreads(max(1, round((config.ingress or config.student.replicas).cpus)))
        self._decoder = ImageDecoder(config.limits, self._workers)
        self._observers = observers

    def add_segment(self, app: FastAPI, guard: Sequence[Any]) -> None:
        """`POST /v1/segment`."""
        limits = self._limits

        async def segment(
            request: Request,
            score_threshold: Annotated[
                Score | None,
                Query(
                    description=f"Least score of an instance; if not given {SCORE_THRESHOLD['instances']:g}, of a"
                    f" semantic student's masks {SCORE_THRESHOLD['semantic']:g}."
                ),
            ] = None,
            max_instances: Annotated[
                int | None,
                Query(
                    ge=1,
                    le=limits.max_instances,
                    description="Per image, best first; if not given"
                    f" {min(MAX_INSTANCES['instances'], limits.max_instances)}, of a semantic student's masks all.",
                ),
            ] = None,
            form: Annotated[
                Form | None, Query(alias="format", description="rle if not given, label where only PNG is accepted.")
            ] = None,
        ) -> Response:
            """All objects on one image or several."""
            chosen = choose(request.headers.get("accept", ""), form)
            deadline = _Deadline(limits)
            body = await deadline.body(request)
            with deadline.answer():
                asked = await self._workers(
                    lambda: parse_segment(body, limits, score_threshold=score_threshold, max_instances=max_instances)
                )
                return await self._segment(asked, chosen)

        self._add(app, "/v1/segment", segment, guard, openapi.segment_body(), openapi.segment_answer(), _SEGMENT_QUERY)

    def add_masks(self, app: FastAPI, guard: Sequence[Any]) -> None:
        """`POST /v1/masks`."""
        limits = self._limits

        async def masks(
            request: Request,
            form: Annotated[MaskForm | None, Query(alias="format", description="rle if not given.")] = None,
        ) -> Response:
            """Up to three masks of what is marked on an image by points or a box."""
            chosen = choose(request.headers.get("accept", ""), form or "rle")
            deadline = _Deadline(limits)
            body = await deadline.body(request)
            with deadline.answer():
                clicks = request.query_params.get("clicks")
                return await self._masks(body, clicks, "polygons" if chosen == "polygons" else "rle")

        self._add(app, "/v1/masks", masks, guard, openapi.masks_body(), openapi.masks_answer(), _MASKS_QUERY)

    def _add(
        self,
        app: FastAPI,
        path: str,
        route: Any,
        guard: Sequence[Any],
        body: dict[str, Any],
        answer: dict[str, Any],
        query: Sequence[str],
    ) -> None:
        app.add_api_route(
            path,
            route,
            methods=["POST"],
            dependencies=[*guard, Depends(only_query(*query))],
            response_class=Response,
            responses={200: answer, **responses(*_PROBLEMS)},
            openapi_extra=body,
        )

    async def _segment(self, asked: SegmentRequest, form: Form) -> Response:
        if MEDIA_TYPES[form] != JSON and len(asked.uploads) != 1:
            raise ProblemError(422, "one-image", f"a PNG answers for one image, {len(asked.uploads)} are given")
        async with self._decoder.decode(asked.uploads) as pictures:
            everything, model = await self._backend.segment([one.pixels for one in pictures])
            if form == "label" and not answers.has_label_map(model.classes):
                raise ProblemError(406, "not-acceptable", f"a label map has no room for {len(model.classes)} classes")
            body = await self._workers(lambda: self._write(pictures, everything, model, asked, form))
        return Response(body, media_type=MEDIA_TYPES[form])

    def _write(
        self,
        pictures: Sequence[DecodedImage],
        everything: Sequence[Instances],
        model: ModelInfo,
        asked: SegmentRequest,
        form: Form,
    ) -> bytes:
        for picture, found in zip(pictures, everything, strict=True):
            seen = observe(picture.pixels, found)
            for observer in self._observers:
                observer(seen)
        least = SCORE_THRESHOLD[model.task] if asked.score_threshold is None else asked.score_threshold
        most = asked.max_instances or min(MAX_INSTANCES[model.task], self._limits.max_instances)
        best = [answers.chosen(found, least, most) for found in everything]
        match form:
            case "label":
                return answers.label_png(best[0], model.classes)
            case "overlay":
                return answers.overlay_png(pictures[0].pixels, best[0], model.classes)
            case _:
                return answers.segment_json(pictures, best, model, form)

    async def _masks(self, body: Body, clicks: str | None, form: MaskForm) -> Response:
        asked = await self._workers(lambda: parse_masks(body, self._limits, clicks=clicks))
        async with self._decoder.decode([asked.upload]) as (picture,):
            _check(asked.clicks, picture)
            found, model = await self._backend.masks(picture.pixels, picture.sha256, asked.clicks)
            answer = await self._workers(lambda: answers.masks_json(picture, found, model, form))
        return Response(answer, media_type=JSON)


class _Deadline:
    """The time limit of one request: for its body to come, then for what is left of it to be answered."""

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._end = anyio.current_time() + limits.timeout_s

    async def body(self, request: Request) -> Body:
        with self._until_end(ProblemError(408, "slow-upload", "the request did not come in time")):
            return await read_body(request, self._limits)

    @contextmanager
    def answer(self) -> Iterator[None]:
        with self._until_end(ProblemError(504, "timeout", "the request took too long and was given up")):
            yield

    @contextmanager
    def _until_end(self, problem: ProblemError) -> Iterator[None]:
        with anyio.move_on_after(self._end - anyio.current_time()) as scope:
            yield
        if scope.cancelled_caught:
            raise problem


def _check(clicks: ImageClicks, picture: DecodedImage) -> None:
    height, width = picture.pixels.shape[:2]
    try:
        clicks.check((height, width))
    except ValueError as error:
        raise ProblemError(422, "clicks", str(error)) from None
