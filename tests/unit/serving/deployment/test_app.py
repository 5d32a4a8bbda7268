"""The application: arguments to a config, a config to deployments. Nothing is started."""

from pathlib import Path
from typing import Any

import pytest

from segray.config.base import build
from segray.config.serve import ServeConfig
from segray.errors import ConfigError
from segray.job_configs import load_as
from segray.serving.deployment.app import application, load_config

TABLES: dict[str, Any] = {"job": "serve", "keys": {"kind": "off"}, "student": {"uri": "somewhere"}}


@pytest.fixture
def file(tmp_path) -> str:
    path = tmp_path / "serve.toml"
    path.write_text('job = "serve"\nport = 1\n[keys]\nkind = "off"\n[student]\nuri = "somewhere"\n')
    return str(path)


@pytest.mark.parametrize(
    ("beside", "port", "uri"),
    [
        ({}, 1, "somewhere"),
        ({"overrides": ["port=2"]}, 2, "somewhere"),
        ({"student.uri": "s3://elsewhere", "port": "3"}, 3, "s3://elsewhere"),
    ],
    ids=["the file alone", "a list of overrides", "overrides as `serve run` gives them"],
)
def test_a_config_is_a_file_and_overrides(file, beside, port, uri):
    config = load_config({"config": file} | beside)
    assert (config.port, config.student.uri) == (port, uri)


def test_a_config_is_tables():
    assert load_config(TABLES | {"port": 5}).port == 5


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"job": "serve"}, "student: missing"),
        (TABLES | {"prot": 1}, "prot: unknown key"),
        ({"config": 3}, "config must be a path"),
        ({"config": "x.toml", "overrides": "port=1"}, "overrides a list"),
        ({"config": "/no/such/file.toml"}, "cannot be read"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(args, says):
    with pytest.raises(ConfigError, match=says):
        load_config(args)


def deployments(**changes: Any) -> dict[str, Any]:
    """What is asked of Ray Serve, by deployment."""
    bound = application(build(ServeConfig, TABLES | changes, "test"))._bound_deployment
    children = [one._bound_deployment for one in bound.init_args if hasattr(one, "_bound_deployment")]
    return {one.name: one for one in [bound, *children]}


def test_there_are_clicks_where_the_config_has_them():
    assert set(deployments()) == {"Ingress", "Student"}
    assert set(deployments(clicks={"sam": {"kind": "original", "model": "nano"}})) == {"Ingress", "Student", "Clicks"}


def test_a_fixed_number_of_copies_is_not_scaled():
    student = deployments(student={"uri": "x", "replicas": {"min": 3, "max": 3}})["Student"]
    assert student.num_replicas == 3
    assert student._deployment_config.autoscaling_config is None


def test_copies_scale_as_the_config_says():
    replicas = {"min": 0, "max": 4, "upscale_delay_s": 7, "downscale_delay_s": 70, "cpus": 2, "gpus": 0.5}
    student = deployments(student={"uri": "x", "target_ongoing": 6, "replicas": replicas})["Student"]
    scaling = student._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas, scaling.target_ongoing_requests) == (0, 4, 6)
    assert (scaling.upscale_delay_s, scaling.downscale_delay_s) == (7, 70)
    assert student.ray_actor_options["num_cpus"] == 2
    assert student.ray_actor_options["num_gpus"] == 0.5


def test_queues_are_bounded_and_the_student_is_user_config():
    found = deployments(limits={"max_queued": 29}, ingress_max_ongoing=11)
    assert {one.max_queued_requests for one in found.values()} == {29}
    assert found["Ingress"].max_ongoing_requests == 11
    assert found["Student"].user_config == {"student": "somewhere"}


def test_the_shipped_config_fits_on_two_cores():
    config = load_as(ServeConfig, Path("configs/serve/nano.toml"))
    assert set(config.copies) == {"student", "clicks"}
    assert sum(one.min * one.cpus for one in config.copies.values()) <= 2


def test_without_an_ingress_the_student_speaks_http_itself():
    found = deployments(ingress=None, ingress_max_ongoing=11, student={"uri": "x", "replicas": {"min": 2, "max": 2}})
    assert set(found) == {"Student"}
    assert found["Student"].num_replicas == 2
    assert found["Student"].max_ongoing_requests == 11
    assert found["Student"].user_config == {"student": "x"}
