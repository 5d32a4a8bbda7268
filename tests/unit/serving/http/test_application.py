import asyncio
import socket
import threading
import time

import httpx
import pytest
import uvicorn

from segray.serving.backend import BusyError, UnreadyError
from segray.serving.http.application import PAGE
from segray.serving.http.headers import HEADERS
from segray.serving.http.keys import make
from segray.serving.http.problems import Problem
from segray.serving.http.schemas import ModelsAnswer
from segray.serving.testing import PaintedBackend

OPEN = ["/healthz", "/readyz", "/", "/page/app.js"]
CLOSED = ["/v1/models", "/metrics", "/openapi.json", "/v1/segment", "/v1/masks"]


@pytest.fixture
def made():
    return make("me")


@pytest.fixture
def guarded(connect, made, tmp_path):
    (tmp_path / "keys").write_text(made.line)
    return connect(keys={"kind": "file", "path": str(tmp_path / "keys")})


def ask(client, path, **arguments):
    return client.request("POST" if path in CLOSED[3:] else "GET", path, **arguments)


@pytest.mark.parametrize("path", CLOSED)
def test_without_a_key_nothing_is_answered(guarded, made, path):
    wrong = [{}, {"X-API-Key": "x"}, {"Authorization": "Bearer x"}, {"Authorization": "Basic " + made.key}]
    wrong += [{"X-API-Key": made.line.split()[1]}, {"Authorization": f"Bearer x, {made.key}"}, {"X-API-Key": b"\xfc"}]
    for headers in wrong:
        answer = ask(guarded, path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert Problem.model_validate_json(answer.text).reason == "no-key"


@pytest.mark.parametrize("path", CLOSED)
def test_with_a_key_in_either_header_it_is(guarded, made, path):
    for headers in ({"X-API-Key": made.key}, {"Authorization": f"Bearer {made.key}"}):
        assert ask(guarded, path, headers=headers).status_code in (200, 415)


@pytest.mark.parametrize("path", OPEN)
def test_health_and_page_are_open(guarded, path):
    assert guarded.get(path).status_code == 200


def test_a_key_is_asked_for_before_the_body_is_read(guarded):
    async def receive():
        raise AssertionError("read")

    messages = []

    async def send(message):
        messages.append(message)

    headers = [(b"content-type", b"image/png")]
    scope = {"type": "http", "method": "POST", "path": "/v1/segment", "query_string": b"", "headers": headers}
    asyncio.run(guarded.app(scope, receive, send))
    assert messages[0]["status"] == 401


def test_it_is_alive_before_it_is_ready(connect):
    backend = PaintedBackend(UnreadyError("no"))
    client = connect(backend)
    assert client.get("/healthz").json() == {"status": "alive"}
    for path in ("/readyz", "/v1/models"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert Problem.model_validate_json(answer.text).reason == "not-ready"
    backend.error = None
    assert client.get("/readyz").json() == {"status": "ready"}


def test_copies_that_keep_their_callers_waiting_are_not_ready(connect):
    class Starting(PaintedBackend):
        async def models(self):
            await asyncio.Event().wait()
            return await super().models()

    client = connect(Starting(), limits={"timeout_s": 0.05})
    assert [client.get(path).status_code for path in ("/readyz", "/v1/models", "/healthz")] == [503, 503, 200]


def test_busy_models_are_ready(connect):
    client = connect(PaintedBackend(BusyError(1.0)))
    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.get("/v1/models").status_code == 429


def test_models_are_listed_the_student_first(client):
    models = ModelsAnswer.model_validate(client.get("/v1/models").json()).models
    assert [(one.kind, one.classes) for one in models] == [("student", ("red", "green", "blue")), ("sam", ())]


@pytest.mark.parametrize(
    "path", ["/healthz", "/v1/models", "/", "/page/app.js", "/nowhere", "/page/nowhere", "/v1/segment"]
)
def test_browsers_are_told_to_load_nothing_from_elsewhere(client, path):
    answer = client.get(path)
    kept = {"Cache-Control": "no-cache"} if path in ("/", "/page/app.js") else {}
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS | kept
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers


def test_a_failure_has_the_same_headers(connect):
    answer = connect(PaintedBackend(RuntimeError()), raise_server_exceptions=False).get("/v1/models")
    assert answer.status_code == 500
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_the_page_is_files_and_no_others(client):
    assert client.get("/").content == (PAGE / "index.html").read_bytes()
    assert client.get("/").headers["content-type"].startswith("text/html")
    for path in ("/page/../http.py", "/page/%2e%2e/http.py", "/page/..%2fhttp.py", "/page//etc/passwd", "/page/"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/healthz/", "/v1/segment/", "/v1/models/"])
def test_a_trailing_slash_leads_nowhere(client, path):
    answer = client.get(path, follow_redirects=False)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(
            (name, 200)
            for name in ("localhost", "LOCALHOST:8000", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000", "[::1]")
        ),
        *((name, 200) for name in ("app.localhost:1", "")),
        *(
            (name, 421)
            for name in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example")
        ),
        *((name, 421) for name in ("10.0.0.1:8000", "[::2]:80", "127.0.0.1@evil.example", "0.0.0.0")),
    ],
)
def test_without_keys_only_this_machine_s_names_are_answered(client, host, status):
    answer = client.get("/healthz", headers={"Host": host})
    assert answer.status_code == status
    if status == 421:
        assert Problem.model_validate_json(answer.content).reason == "another-host"
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_other_names_are_answered_where_keys_or_the_config_say_so(connect, guarded, made):
    stranger = {"Host": "segray.example"}
    assert connect(keys={"kind": "off", "exposed": True}).get("/healthz", headers=stranger).status_code == 200
    bearer = {"Authorization": f"Bearer {made.key}"}
    assert guarded.get("/v1/models", headers=stranger | bearer).status_code == 200


def test_the_page_can_be_left_out(connect):
    client = connect(page=False)
    assert [client.get(path).status_code for path in ("/", "/page/app.js")] == [404, 404]


@pytest.mark.parametrize(("path", "status"), [("/v1/segment", 405), ("/docs", 404), ("/redoc", 404), ("/v2", 404)])
def test_what_is_not_there_is_a_problem(client, path, status):
    answer = client.get(path)
    assert answer.status_code == status
    assert Problem.model_validate_json(answer.text).status == status


# --------------------------------------------------------------------------------------------------- over a real socket


@pytest.fixture
def address(connect):
    server = uvicorn.Server(uvicorn.Config(connect(limits={"max_body_mb": 1.0}).app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_a_large_upload_is_cut_short_and_the_next_caller_served(address):
    sent = 0

    def upload():
        nonlocal sent
        while sent < 400_000_000:
            sent += 100_000
            yield bytes(100_000)

    answer = httpx.post(f"{address}/v1/segment", content=upload(), headers={"content-type": "image/png"})
    assert (answer.status_code, answer.json()["reason"]) == (413, "body-too-large")
    assert sent < 400_000_000
    assert httpx.get(f"{address}/readyz").json() == {"status": "ready"}


def test_an_upload_that_breaks_off_hurts_nobody(address):
    port = int(address.rsplit(":", 1)[1])
    head = b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nhalf"
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head)
    assert httpx.get(f"{address}/readyz").json() == {"status": "ready"}
    assert 'status="500"' not in httpx.get(f"{address}/metrics").text


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/metrics", "/openapi.json", "/"])
def test_head_is_answered_as_get_without_a_body(client, path):
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]


def test_head_of_what_takes_only_posts_is_refused(client):
    assert client.head("/v1/segment").status_code == 405
