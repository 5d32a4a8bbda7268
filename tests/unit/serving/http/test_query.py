import io

import pytest

from segray.serving.testing import scene

FILE = io.BytesIO()
scene().save(FILE, "PNG")
IMAGE = FILE.getvalue()
PNG = {"content-type": "image/png"}


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("POST", "/v1/segment", "only score_threshold, max_instances, format"),
        ("POST", '/v1/masks?clicks={"points":[[8,19]]}', "only clicks, format"),
        ("GET", "/v1/models", "no parameters"),
    ],
)
def test_parameters_that_there_are_not_are_refused_by_name(client, method, path, known):
    body = {"content": IMAGE, "headers": PNG} if method == "POST" else {}
    assert client.request(method, path, **body).status_code == 200
    answer = client.request(method, f"{path}{'&' if '?' in path else '?'}score_treshold=0.9&x=1&x=2", **body)
    assert answer.status_code == 422
    flaws = answer.json()["errors"]
    assert [flaw["where"] for flaw in flaws] == ["query.score_treshold", "query.x"]
    assert known in flaws[0]["detail"]


def test_a_parameter_that_is_given_twice_is_refused(client):
    answer = client.post("/v1/segment?score_threshold=5&score_threshold=0.1", content=IMAGE, headers=PNG)
    assert answer.status_code == 422
    assert "query.score_threshold" in [flaw["where"] for flaw in answer.json()["errors"]]
