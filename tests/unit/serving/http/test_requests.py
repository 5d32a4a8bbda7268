import asyncio
import base64
import io
import json
import tempfile

import numpy as np
import pytest

from segray.serving.testing import find, scene

PNG = {"content-type": "image/png"}


def encoded(kind="PNG"):
    file = io.BytesIO()
    scene().save(file, kind)
    return file.getvalue()


IMAGE = encoded()
TEXT = base64.b64encode(IMAGE).decode()


def file(field="images", name="a.png", data=IMAGE):
    return (field, (name, data, "image/png"))


@pytest.mark.parametrize(
    "body",
    [
        {"content": IMAGE, "headers": PNG},
        {"content": IMAGE, "headers": {"content-type": "application/octet-stream"}},
        {"content": IMAGE, "headers": {"content-type": "IMAGE/JPEG; q=x"}},
        {"files": [file()]},
        {"json": {"images": [{"data": TEXT}]}},
        {
            "content": json.dumps({"images": [{"data": TEXT}]}),
            "headers": {"content-type": "application/json; charset=utf-8"},
        },
    ],
    ids=["raw", "octets", "raw of another name", "form", "json", "json with a charset"],
)
def test_an_image_in_any_form_gives_the_same_answer(client, body):
    expected = client.post("/v1/segment", content=IMAGE, headers=PNG).json()
    answer = client.post("/v1/segment", **body)
    assert answer.status_code == 200
    assert answer.json()["images"][0]["instances"] == expected["images"][0]["instances"]


def test_many_images_come_back_in_their_order_and_by_their_names(client):
    files = [file(name=name, data=encoded(kind)) for name, kind in [("b", "BMP"), ("ü.png", "PNG"), ("a", "TIFF")]]
    images = client.post("/v1/segment", files=files).json()["images"]
    assert [one["name"] for one in images] == ["b", "ü.png", "a"]
    assert len({one["sha256"] for one in images}) == 3
    assert [len(one["instances"]) for one in images] == [2, 2, 2]


@pytest.mark.parametrize(
    ("query", "body", "number"),
    [
        ({}, {}, 2),
        ({"score_threshold": 0.2}, {}, 3),
        ({}, {"score_threshold": 0.2}, 3),
        ({"score_threshold": 0.7}, {"score_threshold": 0.2}, 1),
        ({"score_threshold": 0, "max_instances": 1}, {"max_instances": 2}, 1),
        ({}, {"score_threshold": 0, "max_instances": 2}, 2),
    ],
)
def test_parameters_stand_in_query_or_json_and_the_query_comes_first(client, query, body, number):
    answer = client.post("/v1/segment", params=query, json={"images": [{"data": TEXT}]} | body)
    assert len(answer.json()["images"][0]["instances"]) == number


@pytest.mark.parametrize(
    ("query", "fields", "number"),
    [
        ({}, {"score_threshold": "0.2"}, 3),
        ({"score_threshold": 0.7}, {"score_threshold": "0.2"}, 1),
        ({}, {"score_threshold": "0", "max_instances": "2"}, 2),
    ],
)
def test_parameters_may_stand_in_a_form_too(client, query, fields, number):
    answer = client.post("/v1/segment", params=query, files=[file()], data=fields)
    assert len(answer.json()["images"][0]["instances"]) == number


@pytest.mark.parametrize(
    ("path", "field", "fields", "where"),
    [
        ("segment", "images", {"score_threshold": "2"}, "score_threshold"),
        ("segment", "images", {"max_instances": "many"}, "max_instances"),
        ("segment", "images", {"threshold": "0.5"}, "threshold"),
        ("masks", "image", {"clicks": "here"}, "clicks"),
        ("masks", "image", {"clicks": "{}", "points": "[[1, 1]]"}, "points"),
    ],
)
def test_a_field_that_a_form_cannot_have_is_refused_by_name(client, path, field, fields, where):
    answer = client.post(f"/v1/{path}", files=[file(field)], data=fields)
    assert answer.status_code == 422
    assert [one["where"] for one in answer.json()["errors"]] == [where]


FORM = {"content-type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n'


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"content": IMAGE}, 415, "media-type"),
        ({"content": IMAGE, "headers": {"content-type": "text/plain"}}, 415, "media-type"),
        ({"data": {"images": "x"}}, 415, "media-type"),
        ({"content": b"", "headers": PNG}, 422, "bad-image"),
        ({"json": {}}, 422, "invalid"),
        ({"json": []}, 422, "invalid"),
        ({"content": "{", "headers": {"content-type": "application/json"}}, 422, "invalid"),
        ({"content": b"\xff", "headers": {"content-type": "application/json"}}, 422, "invalid"),
        ({"content": "[" * 100_000, "headers": {"content-type": "application/json"}}, 422, "invalid"),
        ({"json": {"images": []}}, 422, "invalid"),
        ({"json": {"images": [{"data": "?"}]}}, 422, "invalid"),
        ({"json": {"images": [{"data": f"data:image/png,{TEXT}"}]}}, 422, "invalid"),
        ({"json": {"images": [{"data": TEXT, "uri": "file:///etc/passwd"}]}}, 422, "invalid"),
        ({"json": {"images": [{"data": TEXT}], "score_threshold": 2}}, 422, "invalid"),
        ({"json": {"images": [{"data": TEXT}], "max_instances": 0}}, 422, "invalid"),
        ({"json": {"images": [{"data": TEXT}], "max_instances": 401}}, 422, "invalid"),
        ({"json": {"images": [{"data": TEXT, "name": "n" * 201}]}}, 422, "invalid"),
        (
            {
                "content": '{"images": [{"data": "", "name": "\\ud800"}]}',
                "headers": {"content-type": "application/json"},
            },
            422,
            "invalid",
        ),
        ({"files": [file("image")]}, 422, "unknown-field"),
        ({"files": [file() for _ in range(17)]}, 413, "too-many-images"),
        ({"json": {"images": [{"data": TEXT}] * 17}}, 413, "too-many-images"),
        ({"content": b"--b--\r\n", "headers": FORM}, 422, "no-image"),
        ({"content": IMAGE, "headers": FORM}, 400, "malformed"),
        ({"content": b"", "headers": FORM}, 400, "malformed"),
        ({"content": PART + b"\r\n" + IMAGE, "headers": FORM}, 400, "malformed"),
        ({"content": PART, "headers": {"content-type": "multipart/form-data"}}, 400, "malformed"),
        (
            {"content": PART, "headers": {"content-type": "multipart/form-data; boundary=" + "b" * 300}},
            400,
            "malformed",
        ),
        ({"content": b"--b\r\n\r\nx\r\n--b--\r\n", "headers": FORM}, 400, "malformed"),
        (
            {"content": PART + b"Content-Transfer-Encoding: odd\r\n\r\nx\r\n--b--\r\n", "headers": FORM},
            400,
            "malformed",
        ),
        (
            {"content": PART + b"Content-Transfer-Encoding: base64\r\n\r\n?\r\n--b--\r\n", "headers": FORM},
            400,
            "malformed",
        ),
        ({"content": PART.replace(b'; filename="a"', b"") + b"\r\nx\r\n--b--\r\n", "headers": FORM}, 422, "no-image"),
    ],
)
def test_a_body_that_is_none_is_refused(client, body, status, reason):
    answer = client.post("/v1/segment", **body)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("score_threshold=-0.1", "query.score_threshold"),
        ("score_threshold=nan", "query.score_threshold"),
        ("score_threshold=1e999", "query.score_threshold"),
        ("max_instances=0", "query.max_instances"),
        ("max_instances=401", "query.max_instances"),
        ("max_instances=1.5", "query.max_instances"),
        ("format=xml", "query.format"),
    ],
)
def test_a_parameter_out_of_its_range_is_refused_by_name(client, query, where):
    answer = client.post(f"/v1/segment?{query}", content=IMAGE, headers=PNG)
    assert answer.status_code == 422
    assert [one["where"] for one in answer.json()["errors"]] == [where]


def post(app, headers, chunks):
    """A request as a server passes it on, chunk by chunk; also how many chunks were taken."""
    messages, taken = [], 0

    async def receive():
        nonlocal taken
        taken += 1
        if taken > len(chunks):
            return {"type": "http.disconnect"}
        return {
            "type": "http.request",
            "body": chunks[taken - 1],
            "more_body": taken < len(chunks) or chunks[-1] == b"",
        }

    async def send(message):
        messages.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/segment", "query_string": b"", "headers": headers}
    asyncio.run(app(scope, receive, send))
    return messages[0]["status"], json.loads(messages[1]["body"]), taken


@pytest.mark.parametrize(
    ("declared", "most_taken"),
    [(None, 12), (b"10", 12), (b"12000000", 0), (b"9" * 5000, 0), (b"many", 12)],
    ids=["none", "a lie", "the truth", "absurd", "no number"],
)
def test_a_body_is_refused_as_soon_as_it_is_too_large(connect, declared, most_taken):
    app = connect(limits={"max_body_mb": 1.0}).app
    headers = [(b"content-type", b"image/png")] + ([(b"content-length", declared)] if declared else [])
    status, problem, taken = post(app, headers, [bytes(100_000)] * 100)
    assert (status, problem["reason"]) == (413, "body-too-large")
    assert taken <= most_taken


def test_a_body_of_exactly_the_limit_is_read(connect):
    app = connect(limits={"max_body_mb": 0.5}).app
    status, problem, _ = post(app, [(b"content-type", b"image/png")], [bytes(100_000)] * 5)
    assert (status, problem["reason"]) == (422, "bad-image")


def test_an_upload_touches_no_disk(client, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    answer = client.post("/v1/segment", files=[file(data=IMAGE + bytes(3_000_000))])
    assert answer.status_code == 200


def test_an_upload_that_is_cut_off_leaves_no_failure(connect):
    status, problem, _ = post(connect().app, [(b"content-type", b"image/png")], [IMAGE, b""])
    assert (status, problem["reason"]) == (400, "cut-off")


def test_an_upload_that_never_ends_is_given_up(connect):
    app = connect(limits={"timeout_s": 0.05}).app
    messages = []

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        messages.append(message)

    headers = [(b"content-type", b"image/png")]
    scope = {"type": "http", "method": "POST", "path": "/v1/segment", "query_string": b"", "headers": headers}
    asyncio.run(app(scope, receive, send))
    assert messages[0]["status"] == 408


POINT = {"points": [[8, 19]]}


@pytest.mark.parametrize(
    "body",
    [
        {"content": IMAGE, "headers": PNG, "params": {"clicks": json.dumps(POINT)}},
        {"files": [file("image")], "params": {"clicks": json.dumps(POINT)}},
        {"files": [file("image")], "data": {"clicks": json.dumps(POINT)}},
        {"json": {"image": {"data": TEXT}, "clicks": POINT}},
        {"json": {"image": {"data": TEXT}}, "params": {"clicks": json.dumps(POINT)}},
        {"json": {"image": {"data": TEXT}, "clicks": {"points": [[1, 1]]}}, "params": {"clicks": json.dumps(POINT)}},
        {"json": {"image": {"data": TEXT}, "clicks": {"box": [8, 19, 30, 30]}}},
        {"json": {"image": {"data": TEXT}, "clicks": {"points": [[8, 19], [1, 1]], "labels": [1, 0]}}},
    ],
    ids=["raw", "form and query", "form", "json", "json and query", "query before json", "box", "labels"],
)
def test_clicks_in_any_form_mark_the_same(client, body):
    answer = client.post("/v1/masks", **body).json()
    assert [one["area"] for one in answer["masks"]] == [find(np.asarray(scene())).areas[0]]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"content": IMAGE, "headers": PNG}, 422, "no-clicks"),
        ({"files": [file("image")]}, 422, "no-clicks"),
        ({"json": {"image": {"data": TEXT}}}, 422, "no-clicks"),
        ({"files": [file("image"), file("image")], "params": {"clicks": "{}"}}, 422, "no-image"),
        ({"data": {"clicks": "{}"}, "files": [file("images")]}, 422, "unknown-field"),
        ({"content": IMAGE, "headers": PNG, "params": {"clicks": "here"}}, 422, "invalid"),
        ({"json": {"image": {"data": TEXT}, "clicks": {}}}, 422, "clicks"),
        ({"json": {"image": {"data": TEXT}, "clicks": {"points": [[8, 19]], "labels": [1, 1]}}}, 422, "clicks"),
        ({"json": {"image": {"data": TEXT}, "clicks": {"points": [[64, 19]]}}}, 422, "clicks"),
        ({"json": {"image": {"data": TEXT}, "clicks": {"points": [[8, 19]], "labels": [2]}}}, 422, "invalid"),
        ({"json": {"image": {"data": TEXT}, "clicks": {"points": [[8]]}}}, 422, "invalid"),
        ({"json": {"image": {"data": TEXT}, "clicks": {"box": [9, 9, 8, 8]}}}, 422, "clicks"),
        ({"json": {"image": {"data": TEXT}, "clicks": {"box": [0, 0, 1e999, 8]}}}, 422, "invalid"),
    ],
)
def test_clicks_that_mark_nothing_are_refused(client, body, status, reason):
    if "json" in body:
        text = json.dumps(body["json"])
        body = {"content": text, "headers": {"content-type": "application/json"}}
    answer = client.post("/v1/masks", **body)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)


WRAPPED = base64.encodebytes(IMAGE).decode()


@pytest.mark.parametrize(
    "text",
    [WRAPPED, TEXT + "\n", f"data:image/png;base64,{TEXT}", TEXT.replace("+", "-").replace("/", "_")],
    ids=["wrapped", "a line's end", "data URL", "URL-safe"],
)
def test_base64_as_people_have_it(client, text):
    expected = client.post("/v1/segment", content=IMAGE, headers=PNG).json()
    answer = client.post("/v1/segment", json={"images": [{"data": text}]})
    assert answer.status_code == 200
    assert answer.json()["images"][0]["sha256"] == expected["images"][0]["sha256"]


@pytest.mark.parametrize("text", ["data:image/png,abc", "data:;base64,####", "%%%", "abc", 3, None])
def test_what_is_no_base64_is_told_what_is_wanted(client, text):
    answer = client.post("/v1/segment", json={"images": [{"data": text}]})
    assert answer.status_code == 422
    assert "base64" in answer.json()["detail"]


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 415), ("br", 415), ("identity", 200)])
def test_a_body_that_is_encoded_once_more_is_refused_by_its_header(client, encoding, status):
    answer = client.post("/v1/segment", content=IMAGE, headers=PNG | {"content-encoding": encoding})
    assert answer.status_code == status
    assert status == 200 or "Content-Encoding" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {"json": {"images": [0] * 999}},
        {"json": {"images": [0] * 100_000}},
        {"json": {"images": [{"data": TEXT}], **{f"key{number}": 1 for number in range(900)}}},
        {"json": {"images": [{"data": TEXT}], **{f"key{number}": 1 for number in range(20_000)}}},
        {"json": {"images": [{"data": TEXT}], "k" * 5000: 1}},
        {"files": [file()], "data": {f"key{number}": "1" for number in range(1000)}},
    ],
    ids=["items", "many items", "keys", "many keys", "a long key", "fields"],
)
def test_an_answer_lists_one_page_of_faults(client, body):
    answer = client.post("/v1/segment", **body)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) <= 20
    assert len(answer.content) < 8000
