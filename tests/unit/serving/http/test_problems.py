import logging

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect

from segray.serving.backend import BusyError, UnreadyError
from segray.serving.http import problems
from segray.serving.http.problems import InvalidField, Problem, ProblemError

SECRET = "/srv/secret/path"


def ask(error, **arguments):
    app = FastAPI()
    problems.install(app)

    @app.get("/{number}")
    def fails(number: int):
        raise error if number else AssertionError

    return TestClient(app, raise_server_exceptions=False).request(**{"method": "GET", "url": "/1"} | arguments)


@pytest.mark.parametrize(
    ("error", "status", "reason", "headers"),
    [
        (ProblemError(413, "body-too-large", "too much"), 413, "body-too-large", {}),
        (
            ProblemError(401, "no-key", "no", headers={"WWW-Authenticate": "Bearer"}),
            401,
            "no-key",
            {"www-authenticate": "Bearer"},
        ),
        (BusyError(0.2), 429, "busy", {"retry-after": "1"}),
        (BusyError(2.5), 429, "busy", {"retry-after": "3"}),
        (UnreadyError(SECRET), 503, "not-ready", {"retry-after": "5"}),
        (ClientDisconnect(), 400, "cut-off", {}),
        (RuntimeError(SECRET), 500, "failed", {}),
    ],
)
def test_every_error_is_a_problem_that_tells_nothing_of_the_server(error, status, reason, headers):
    response = ask(error)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(response.text)
    assert (problem.status, problem.reason, problem.type) == (status, reason, "about:blank")
    assert SECRET not in response.text
    assert "Error" not in response.text.replace("Internal Server Error", "")
    assert headers.items() <= dict(response.headers).items()


@pytest.mark.parametrize(
    ("arguments", "status", "reason", "detail"),
    [
        ({"url": "/"}, 404, "not-found", "there is nothing at this path"),
        ({"method": "POST"}, 405, "method-not-allowed", "this path takes other methods, see the header `Allow`"),
        (
            {"url": "/one"},
            422,
            "invalid",
            "path.number: Input should be a valid integer, unable to parse string as an integer",
        ),
    ],
)
def test_what_the_framework_refuses_is_a_problem_too(arguments, status, reason, detail):
    response = ask(RuntimeError(), **arguments)
    problem = Problem.model_validate_json(response.text)
    assert (problem.status, problem.reason, problem.detail) == (status, reason, detail)
    assert response.headers["content-type"] == "application/problem+json"


def test_what_was_wrong_is_listed():
    flaw = InvalidField(where="images.1", reason="damaged", detail="is cut short")
    problem = Problem.model_validate_json(ask(ProblemError(422, "bad-image", "bad", flaws=[flaw])).text)
    assert problem.errors == [flaw]


def test_what_is_wrong_with_a_parameter_does_not_repeat_it():
    assert "<script>" not in ask(RuntimeError(), url="/<script>").text


def test_a_failure_is_found_in_the_log_by_the_name_that_the_caller_was_given(caplog):
    with caplog.at_level(logging.ERROR):
        problem = Problem.model_validate_json(ask(RuntimeError(SECRET)).text)
    assert problem.instance.startswith("urn:uuid:")
    (record,) = [one for one in caplog.records if problem.instance in one.getMessage()]
    assert record.exc_info[1].args == (SECRET,)
