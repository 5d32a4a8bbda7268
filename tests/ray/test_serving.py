"""The endpoint on a real cluster, deployed as a RayService does, under load while things change and break.

HAProxy, Ray Serve, HTTP, keys and students are real. The tests follow one endpoint through its life, in their order.
"""

import io
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest
import ray
import torch
from PIL import Image
from ray import serve
from ray.cluster_utils import Cluster
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from segray.assets import MASK2FORMER_NANO
from segray.config.base import build
from segray.config.serve import StudentServing
from segray.demo.world import scene
from segray.jobs.endpoint.isolation import environment, isolated
from segray.jobs.endpoint.ports import free_port
from segray.jobs.serve import FLAGS
from segray.models.build import load_student
from segray.models.package import save_student
from segray.serving.backend import ModelInfo
from segray.serving.http import keys
from segray.serving.student import ServedStudent

ROOT = Path(__file__).parents[2]
PATIENCE_S = 600
COPIES = 2
LIMITS = {"timeout_s": PATIENCE_S}
SCENE = scene("b", 3, size=96).image


@pytest.fixture(scope="module")
def students(tmp_path_factory) -> dict[str, str]:
    """Folders: the shipped student, one that is less sure of itself, and one whose weights are no numbers."""
    folder = tmp_path_factory.mktemp("students")
    for name, scale in {"first": 1.0, "second": 0.5, "spoilt": float("nan")}.items():
        student = load_student(str(MASK2FORMER_NANO))
        with torch.no_grad():
            student.decoders.classifier.weight.mul_(scale)
        save_student(student, str(folder / name), info={})
    return {name: str(folder / name) for name in ("first", "second", "spoilt")}


@pytest.fixture(scope="module")
def expected(students) -> dict[str, list[float]]:
    """By weights: the scores that a student in one process gives."""
    found = {}
    for name in ("first", "second"):
        student = ServedStudent(build(StudentServing, {"uri": students[name]}, "test"))
        (instances,), info = student.answer([SCENE])
        found[info.weights_sha256] = instances.scores.tolist()
    return found


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of Ray Serve on a cluster of its own, without applications and apart from other endpoints of this machine."""
    with environment(FLAGS), isolated():
        head = {"num_cpus": 8, "object_store_memory": 200 * 2**20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        port = free_port("127.0.0.1", 0)
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        yield f"http://127.0.0.1:{port}"
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


Deploy = Callable[..., None]


@pytest.fixture(scope="module")
def key() -> keys.NewKey:
    return keys.make("tests")


@pytest.fixture(scope="module")
def deploy(address, students, key, tmp_path_factory) -> Deploy:  # noqa: ARG001  # Ray Serve is there
    """`deploy(student, **tables)`: what a RayService's serveConfigV2 does; `student` is its user_config."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(key.line + "\n")

    def deployed(student: str, **tables: Any) -> None:
        config = {
            "job": "serve",
            "keys": {"kind": "file", "path": str(file)},
            "limits": LIMITS,
            "student": {"uri": students["first"], "replicas": {"min": COPIES, "max": COPIES, "cpus": 0.5}},
            "clicks": {"sam": {"kind": "original", "model": "nano"}, "replicas": {"cpus": 0.5}},
        }
        application = {
            "name": "segray",
            "route_prefix": "/",
            "import_path": "serve.app:build",
            "args": config | tables,
            "deployments": [{"name": "Student", "user_config": {"student": student}}],
        }
        _get_global_client().deploy_apps(ServeDeploySchema.model_validate({"applications": [application]}))

    return deployed


@pytest.fixture(scope="module")
def endpoint(address, deploy, students, key) -> Iterator[httpx.Client]:
    """A client of the endpoint, once it is ready."""
    deploy(students["first"])
    with httpx.Client(base_url=address, headers={"X-API-Key": key.key}, timeout=PATIENCE_S) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200)
        yield client


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if true():
            return
        time.sleep(0.2)
    pytest.fail(f"it did not come to that in time; Ray Serve says {serve.status()}")


def picture(image: np.ndarray = SCENE) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def ask(client: httpx.Client) -> httpx.Response:
    query = {"score_threshold": 0}
    return client.post("/v1/segment", params=query, content=picture(), headers={"content-type": "image/png"})


class Crowd:
    """Clients that ask again as soon as they are answered."""

    def __init__(self, endpoint: httpx.Client) -> None:
        self.endpoint = endpoint
        self.statuses: Counter[int] = Counter()
        self.answers: list[tuple[str, list[float]]] = []
        self.over = Event()

    def client(self) -> None:
        with httpx.Client(base_url=self.endpoint.base_url, headers=self.endpoint.headers, timeout=PATIENCE_S) as client:
            while not self.over.is_set():
                response = ask(client)
                self.statuses[response.status_code] += 1
                if response.status_code == 200:
                    self.answers.append(told(response))


def told(response: httpx.Response) -> tuple[str, list[float]]:
    """Which weights answered, and the scores that they gave."""
    answer = response.json()
    instances = answer["images"][0]["instances"]
    return answer["model"]["weights_sha256"], [one["score"] for one in instances]


CROWD = 3


@contextmanager
def crowd(endpoint: httpx.Client) -> Iterator[Crowd]:
    """Load for the time of the `with`, from before it until after it."""
    asking = Crowd(endpoint)
    with ThreadPoolExecutor(CROWD) as pool:
        clients = [pool.submit(asking.client) for _ in range(CROWD)]
        try:
            wait_for(lambda: len(asking.answers) > CROWD or any(one.done() for one in clients))
            yield asking
            answered = len(asking.answers)
            wait_for(lambda: len(asking.answers) > answered + CROWD or any(one.done() for one in clients))
        finally:
            asking.over.set()
        for one in clients:
            one.result()


def is_right(answer: tuple[str, list[float]], expected: dict[str, list[float]]) -> bool:
    weights, scores = answer
    return scores == pytest.approx(expected[weights], abs=1e-4)


def all_copies(true: Callable[[ModelInfo], bool]) -> bool:
    """Ask every copy of the student: requests go to whichever has less to do, and may miss one for long."""
    infos = serve.get_deployment_handle("Student", "segray").broadcast("info").results(timeout_s=PATIENCE_S)
    return len(infos) == COPIES and all(true(one) for one in infos)


def test_an_image_comes_back_as_what_the_student_finds(endpoint, expected):
    response = ask(endpoint)
    assert response.status_code == 200, response.text
    assert is_right(told(response), expected)


def test_images_of_one_request_are_answered_in_their_order(endpoint):
    sides = (64, 96, 48, 80)
    files = [("images", (str(side), picture(SCENE[:side, :side]), "image/png")) for side in sides]
    answer = endpoint.post("/v1/segment", files=files).json()
    assert [(one["name"], one["height"], one["width"]) for one in answer["images"]] == [
        (str(side), side, side) for side in sides
    ]


def test_a_click_is_answered_with_masks_around_it(endpoint):
    clicks = {"clicks": '{"points": [[48, 48]]}'}
    response = endpoint.post("/v1/masks", params=clicks, content=picture(), headers={"content-type": "image/png"})
    assert response.status_code == 200, response.text
    assert {one["kind"] for one in endpoint.get("/v1/models").json()["models"]} == {"student", "sam"}


def test_who_has_no_key_gets_nothing(endpoint):
    assert httpx.get(endpoint.base_url.join("/v1/models")).status_code == 401
    assert httpx.get(endpoint.base_url.join("/readyz")).status_code == 200


def test_a_new_student_takes_over_under_load_and_no_request_fails(endpoint, deploy, students, expected):
    first, second = expected
    with crowd(endpoint) as asking:
        deploy(students["second"])
        wait_for(lambda: all_copies(lambda one: one.weights_sha256 == second))
    assert set(asking.statuses) == {200}
    assert {weights for weights, _ in asking.answers} == {first, second}
    assert all(is_right(one, expected) for one in asking.answers)


def test_bad_weights_are_refused_under_load_and_the_student_before_goes_on(endpoint, deploy, students, expected):
    _, second = expected
    with crowd(endpoint) as asking:
        deploy(students["spoilt"])
        wait_for(lambda: all_copies(lambda one: "no number" in one.refused))
    assert set(asking.statuses) == {200}
    assert {weights for weights, _ in asking.answers} == {second}
    assert all_copies(lambda one: one.weights_sha256 == second)
    assert students["spoilt"] not in endpoint.get("/v1/models").text
    logs = (Path(ray._private.worker._global_node.get_session_dir_path()) / "logs" / "serve").glob(
        "replica_*Student*.log"
    )
    lines = [line for log in logs for line in log.read_text().splitlines() if "refused" in line]
    # Ray's line has a level and a time, ours too.
    assert any(re.match(r"WARNING \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", line) for line in lines), lines


def test_a_copy_that_dies_takes_only_the_requests_that_it_had(endpoint, deploy, students, expected):
    deploy(students["first"])
    wait_for(lambda: all_copies(lambda one: not one.refused))
    before = copies("Student")
    with crowd(endpoint) as asking:
        ray.kill(ray.get_actor(next(iter(before)), namespace="serve"))
        wait_for(lambda: len(copies("Student") - before) == 1)
    assert set(asking.statuses) <= {200, 503}
    assert asking.statuses[503] <= CROWD
    assert all(is_right(one, expected) for one in asking.answers)


def copies(deployment: str) -> set[str]:
    """Names of its actors, as far as they live."""
    named = ray.util.list_named_actors(all_namespaces=True)
    return {one["name"] for one in named if f"#{deployment}#" in one["name"]}


def test_a_rolling_restart_under_load_fails_no_request(endpoint, deploy, students):
    before = {name: copies(name) for name in ("Ingress", "Student", "Clicks")}
    with crowd(endpoint) as asking:
        # Other arguments of the application: every copy is started anew.
        deploy(students["first"], limits=LIMITS | {"max_queued": 4, "max_images": 4})
        wait_for(lambda: not any(names & copies(name) for name, names in before.items()))
    assert set(asking.statuses) == {200}


def test_a_full_queue_answers_429_and_when_to_come_again(endpoint):
    """After the restart before: four images may wait, the two copies hold 16 each."""
    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(lambda _: several(endpoint, 4), range(16)))
    assert {one.status_code for one in responses} == {200, 429}
    refused = next(one for one in responses if one.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["content-type"] == "application/problem+json"
    assert several(endpoint, 4).status_code == 200


def several(endpoint: httpx.Client, images: int) -> httpx.Response:
    files = [("images", (str(index), picture(), "image/png")) for index in range(images)]
    return endpoint.post("/v1/segment", files=files)


@pytest.mark.slow
def test_the_command_serves_until_it_is_told_to_stop_and_ends_what_it_began(served):
    with served("port=0", f"limits.timeout_s={PATIENCE_S}") as one:
        with httpx.Client(base_url=one.address, timeout=PATIENCE_S) as client, ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(several, client, 8)
            time.sleep(0.2)
            one.process.send_signal(signal.SIGTERM)
            assert under_way.result().status_code == 200
        assert one.process.wait(PATIENCE_S) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(one.address)
