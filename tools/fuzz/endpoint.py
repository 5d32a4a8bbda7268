"""Calls of every operation of the endpoint, good and bad ones, made from its own OpenAPI document by schemathesis.

Half of the calls send mutated images in each form that a body can have. A fault is an answer that the document does not
tell of, a 5xx that is none of the documented refusals, or an exception. The application is the real one with a model
that paints, in this process: `python -m tools.fuzz.endpoint --number N`.
"""

import base64
import io
import json
import sys
from collections import Counter
from typing import Any, Final

import numpy as np
import schemathesis
import typer
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from segray.config.base import build
from segray.config.serve import ServeConfig
from segray.serving.http.application import create_app
from segray.serving.testing import PaintedBackend, scene
from tools.fuzz.mutations import changed_bytes
from tools.fuzz.readers import image_inputs

CONFIG: Final = build(
    ServeConfig,
    {
        "job": "serve",
        # Calls name any host.
        "keys": {"kind": "off", "exposed": True},
        "student": {"uri": "nowhere"},
        "clicks": {"sam": {"kind": "original", "model": "nano"}},
        # So many images that none of the forms made here has too many: its other faults are to be found.
        "limits": {"max_megapixels": 1.0, "max_held_megapixels": 4.0, "max_images": 500, "max_queued": 500},
        "page": False,
    },
    "tools.fuzz",
)
_WITHOUT_BODY: Final = 20
"""Calls, good and bad ones each, of an operation without a body."""
_BUSY: Final = (503, 504)
"""Answers of 5xx that are refusals and no faults."""


def open_schema() -> Any:
    """Return the application's OpenAPI document, bound to the application."""
    picture = io.BytesIO()
    scene().save(picture, "PNG")
    images = st.just(picture.getvalue()) | st.binary() | st.binary().map(picture.getvalue().__add__)
    schemathesis.openapi.format("binary", images)
    schemathesis.openapi.format("byte", images.map(lambda data: base64.b64encode(data).decode()))
    for kind in ("image/*", "application/octet-stream"):
        schemathesis.openapi.media_type(kind, images)
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(PaintedBackend(), CONFIG))


def run(number: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Make about so many calls; return the answers by status, and every fault."""
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    schema = open_schema()
    operations = [one.ok() for one in schema.get_all_operations()]
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    with_bodies = sum(bool(one.body) for one in operations)
    for operation in operations:
        examples = max(1, number // 2 // (with_bodies * len(modes))) if operation.body else _WITHOUT_BODY
        for mode in modes:
            try:
                _call(operation, mode, examples, seed, outcomes)
            except Unsatisfiable:
                continue  # nothing about this operation can be wrong
            except Exception as error:
                faults.append(f"{operation.label}, {mode.value}: {type(error).__name__}: {str(error)[:2000]}")
    faults += send_images(number - outcomes.total(), seed, outcomes)
    return outcomes, faults


def send_images(number: int, seed: int, outcomes: Counter[str]) -> list[str]:
    """Send mutated images, each in one of the forms of a body; return the faults."""
    rng, faults = np.random.default_rng([seed, 1]), []
    good = image_inputs(rng)
    app = create_app(PaintedBackend(), CONFIG)
    with TestClient(app, raise_server_exceptions=False) as client:
        for index in range(number):
            data = changed_bytes(good[int(rng.integers(len(good)))], rng)
            answer = client.post("/v1/segment", **_bodies(data)[index % len(_bodies(b""))])
            outcomes[str(answer.status_code)] += 1
            kind = answer.headers.get("content-type", "")
            told = "application/json" if answer.status_code == 200 else "application/problem+json"
            if (answer.status_code >= 500 and answer.status_code not in _BUSY) or not kind.startswith(told):
                faults.append(f"image {index}: {answer.status_code}, {kind}: {answer.text[:500]}")
    return faults


def _bodies(data: bytes) -> list[dict[str, Any]]:
    text = base64.b64encode(data).decode()
    return [
        {"content": data, "headers": {"content-type": "image/png"}},
        {"content": data, "headers": {"content-type": "application/octet-stream"}},
        {"files": [("images", ("a.png", data)), ("images", ("b.png", data))]},
        {"json": {"images": [{"data": text}]}},
        {"json": {"images": [{"data": f"data:image/png;base64,{text}"}]}},
    ]


def _call(operation: Any, mode: GenerationMode, examples: int, seed: int, outcomes: Counter[str]) -> None:
    @seeded(seed)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        # What the document calls a binary string may be no image, so what it allows may be refused.
        response = case.call()
        outcomes[str(response.status_code)] += 1
        case.validate_response(response, excluded_checks=[positive_data_acceptance])
        if response.status_code >= 500 and response.status_code not in _BUSY:
            raise AssertionError(f"{response.status_code}: {response.text[:500]}")

    check()


def main(number: int = 1000, seed: int = 0) -> None:
    """Make about so many calls and print the answers by status, as one line of JSON."""
    outcomes, faults = run(number, seed)
    sys.stdout.write(
        json.dumps({"kind": "endpoint", "seed": seed, "outcomes": dict(outcomes), "faults": faults}) + "\n"
    )


if __name__ == "__main__":
    typer.run(main)
