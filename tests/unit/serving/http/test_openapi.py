from hypothesis import HealthCheck, settings
from openapi_spec_validator import validate
from schemathesis.specs.openapi.checks import positive_data_acceptance

import segray
from tools.fuzz.endpoint import open_schema

SCHEMA = open_schema()


# What the schema calls a binary string may be no image, so what it allows may be refused.
@SCHEMA.parametrize()
@settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_the_answer_is_one_that_the_document_tells_of(case):
    case.call_and_validate(excluded_checks=[positive_data_acceptance])


def test_the_document_is_openapi_of_this_version(connect):
    document = connect().get("/openapi.json").json()
    validate(document)
    assert document["info"]["version"] == segray.__version__
    assert set(document["paths"]) == {"/v1/segment", "/v1/masks", "/v1/models", "/healthz", "/readyz", "/metrics"}


def test_the_document_names_all_forms_of_a_body_and_all_problems(client):
    route = client.get("/openapi.json").json()["paths"]["/v1/segment"]["post"]
    forms = {"multipart/form-data", "application/json", "application/octet-stream", "image/*"}
    assert set(route["requestBody"]["content"]) == forms
    assert set(route["responses"]["200"]["content"]) == {"application/json", "image/png"}
    problems = {"400", "401", "406", "408", "413", "415", "422", "429", "500", "503", "504"}
    assert set(route["responses"]) == {"200"} | problems
    assert all(set(route["responses"][status]["content"]) == {"application/problem+json"} for status in problems)


def test_the_document_says_the_limits_and_how_keys_are_sent(connect, tmp_path):
    (tmp_path / "keys").write_text(f"me {'0' * 64}\n")
    app = connect(keys={"kind": "file", "path": str(tmp_path / "keys")}, limits={"max_instances": 7}).app
    document = app.openapi()
    route = document["paths"]["/v1/segment"]["post"]
    maximum = next(
        one["schema"]["anyOf"][0]["maximum"] for one in route["parameters"] if one["name"] == "max_instances"
    )
    assert maximum == 7
    schemes = {
        (one["type"], one.get("scheme") or one["name"]) for one in document["components"]["securitySchemes"].values()
    }
    assert schemes == {("http", "bearer"), ("apiKey", "X-API-Key")}
    assert len(route["security"]) == 2
    assert "security" not in document["paths"]["/readyz"]["get"]


def test_without_a_model_for_clicks_there_is_no_route_for_them(connect):
    client = connect(clicks=None)
    assert "/v1/masks" not in client.get("/openapi.json").json()["paths"]
    assert client.post("/v1/masks").status_code == 404
