import asyncio
import io

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from segray.masks.instances import Instances
from segray.serving.metrics import Metrics, RequestCounter, observe
from segray.serving.testing import PaintedBackend, find, scene

FILE = io.BytesIO()
scene().save(FILE, "PNG")
IMAGE = FILE.getvalue()
PNG = {"content-type": "image/png"}


def samples(client):
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_requests_are_counted_by_route_and_status_and_refusals_by_reason(client):
    client.post("/v1/segment", content=IMAGE, headers=PNG)
    client.post("/v1/segment", content=IMAGE[:99], headers=PNG)
    client.post("/v1/segment", content=IMAGE)
    client.get("/page/nowhere")
    client.get("/made/up/by/a/caller")
    found = samples(client)
    assert found["segray_requests_total", "/v1/segment", "200"] == 1
    assert found["segray_requests_total", "/v1/segment", "422"] == 1
    assert found["segray_requests_total", "/v1/segment", "415"] == 1
    assert found["segray_requests_total", "other", "404"] == 2
    assert found["segray_refused_total", "bad-image"] == 1
    assert found["segray_refused_total", "media-type"] == 1
    assert found["segray_refused_total", "not-found"] == 2
    assert found["segray_request_seconds_count", "/v1/segment"] == 3
    assert not any("caller" in str(name) for name in found)


def test_a_failure_is_counted_as_one(connect):
    client = connect(PaintedBackend(RuntimeError()), raise_server_exceptions=False)
    client.post("/v1/segment", content=IMAGE, headers=PNG)
    assert samples(client)["segray_requests_total", "/v1/segment", "500"] == 1


@pytest.mark.parametrize("query", ["", "?score_threshold=0.99", "?max_instances=1", "?format=label"])
def test_drift_does_not_depend_on_what_callers_ask_for(connect, query):
    seen = []
    client = connect(observers=[seen.append])
    client.post(f"/v1/segment{query}", content=IMAGE, headers=PNG)
    found = samples(client)
    assert found["segray_images_total",] == 1
    assert found["segray_scores_count",] == 3
    assert found["segray_scores_sum",] == pytest.approx(1.75)
    assert found["segray_instances_sum",] == 2
    assert found["segray_image_megapixels_sum",] == pytest.approx(64 * 48 / 1e6)
    assert seen == [observe(np.asarray(scene()), find(np.asarray(scene())))]


def test_every_image_of_a_request_is_observed(connect):
    seen = []
    connect(observers=[seen.append]).post("/v1/segment", files=[("images", ("a", IMAGE))] * 3)
    assert len(seen) == 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (40, 30), (3000, 4000)])
@pytest.mark.parametrize(("values", "brightness", "contrast"), [((0,), 0, 0), ((255,), 1, 0), ((0, 255), 0.5, 0.5)])
def test_brightness_and_contrast_are_shares(shape, values, brightness, contrast):
    half = np.arange(shape[1])[None, :, None] * len(values) // shape[1]
    pixels = np.broadcast_to(np.array(values, dtype=np.uint8)[half], (*shape, 3))
    seen = observe(pixels, Instances.empty(shape))
    if shape == (1, 1):
        brightness, contrast = values[0] / 255, 0
    assert seen.brightness == pytest.approx(brightness, abs=0.01)
    assert seen.contrast == pytest.approx(contrast, abs=0.01)
    assert (seen.scores, seen.instances) == ((), 0)


async def hang_up(app, metrics_of):
    """Send half a body, then be gone; return the status that is counted."""
    half = [
        {"type": "http.request", "body": IMAGE[:99], "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive():
        return half.pop(0)

    async def send(_message):
        return

    headers = [(b"content-type", b"image/png"), (b"content-length", b"%d" % len(IMAGE))]
    scope = {
        "type": "http", "method": "POST", "path": "/v1/segment", "raw_path": b"/v1/segment", "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http", "client": None, "server": None, "root_path": "",
    }  # fmt: skip
    await app(scope, receive, send)
    return metrics_of()


def test_callers_who_hang_up_are_no_server_errors(client):
    found = asyncio.run(hang_up(client.app, lambda: samples(client)))
    assert found["segray_requests_total", "/v1/segment", "499"] == 1
    assert not any(name[-1].startswith("5") for name in found if name[0] == "segray_requests_total")


def test_a_request_that_is_cancelled_is_one_that_hung_up():
    counts = Metrics()

    async def never(_scope, _receive, _send):
        await asyncio.sleep(60)

    async def cancelled():
        request = asyncio.create_task(RequestCounter(never, counts)({"type": "http", "path": "/"}, None, None))
        await asyncio.sleep(0)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)

    asyncio.run(cancelled())
    assert 'segray_requests_total{route="other",status="499"} 1.0' in counts.text().decode()
