"""`segray doctor` on this machine, and on machines that lack something: real processes, a real HTTP server."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from segray import diagnostics

ROOT = Path(__file__).parents[2]
NAMES = ["Python", "segray", "torch", "CUDA", "Ray", "CPU", "bfloat16 on the CPU", "memory", "/dev/shm", "disk", "hub"]


def doctor(*arguments, path=(), **environment):
    known = {"PATH": "", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment}
    known["PYTHONPATH"] = os.pathsep.join(map(str, [*path, ROOT / "platform"]))
    command = [sys.executable, "-m", "segray.cli", "doctor", *arguments]
    return subprocess.run(command, env=known, capture_output=True, text=True, check=False)


def findings(done):
    return {one["name"]: one for one in json.loads(done.stdout)["findings"]}


def test_this_machine_has_what_segray_needs():
    done = doctor("--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["ready"]
    found = findings(done)
    assert set(NAMES) | set(diagnostics.SECRETS) <= found.keys()
    assert found["memory"]["figures"]["bytes"] > 2**28
    assert all(one["note"] for one in found.values() if one["status"] in ("limited", "missing"))
    assert found["hub"]["value"] == "not asked, offline"


def test_it_is_read_by_people_and_tells_no_secret(tmp_path):
    tokens = {
        "HF_TOKEN": "hf_abc",
        "WANDB_API_KEY": "abc123",
        "RAY_AUTH_TOKEN": "ray-abc",
        "AWS_SECRET_ACCESS_KEY": "s/abc",
    }
    done = doctor(**tokens, AWS_ACCESS_KEY_ID="id-abc", HOME=str(tmp_path))
    assert done.returncode == 0
    assert done.stdout.count("present (environment)") == 4
    assert "abc" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "name"),
    [("torch.py", "torch"), ("ray.py", "Ray")],
)
def test_what_segray_itself_needs_decides_the_exit_status(module, name, tmp_path):
    (tmp_path / module).write_text("raise ImportError('libcudart.so.13 is missing')")
    done = doctor("--json", path=[tmp_path])
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    one = findings(done)[name]
    assert one["status"] == "missing"
    assert "libcudart.so.13" in one["value"]


def test_a_probe_that_hangs_or_crashes_ends(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import time; time.sleep(100)")
    (tmp_path / "ray.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    begin = time.monotonic()
    found = {one.name: one for one in diagnostics.diagnose(offline=True, timeout_s=3)}
    assert time.monotonic() - begin < 10
    assert (found["torch"].status, found["torch"].value) == ("unknown", "no answer in 3 s")
    assert found["Ray"].status == "missing"


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({}, "absent"),
        ({"HF_TOKEN": ""}, "absent"),
        ({"HF_TOKEN": "hf_x"}, "present (environment)"),
        ({"HF_HOME": "{folder}"}, "present ($HF_HOME/token)"),
    ],
)
def test_a_token_is_present_or_absent(given, value, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("hf_x")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    for name, text in given.items():
        monkeypatch.setenv(name, text.format(folder=tmp_path))
    (found,) = [one for one in diagnostics.diagnose(offline=True, timeout_s=0.1) if one.name == "HF_TOKEN"]
    assert found.value == value


@pytest.fixture
def hub(monkeypatch):
    """A server that answers with the status it is given, and the requests that it has seen."""
    seen, status = [], [200]

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            seen.append(self.command)
            self.send_response(status[0])
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        do_GET = do_HEAD  # noqa: N815 - the handler's own name

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield seen, status
    server.shutdown()
    server.server_close()


def ask(*, offline=False):
    (found,) = [one for one in diagnostics.diagnose(offline=offline, timeout_s=0.1) if one.name == "hub"]
    return found


@pytest.mark.parametrize(
    ("answer", "value"),
    [(200, "reachable"), (302, "reachable"), (404, "reachable"), (503, "not reachable (answers 503)")],
)
def test_the_hub_is_asked_once(hub, answer, value):
    seen, status = hub
    status[0] = answer
    assert ask().value == value
    assert seen == ["HEAD"]


@pytest.mark.parametrize(("variable", "offline"), [("1", False), ("true", False), ("", True)])
def test_the_hub_is_not_asked_offline(hub, variable, offline, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", variable)
    assert ask(offline=offline).value == "not asked, offline"
    assert hub[0] == []


def test_a_hub_that_does_not_answer_costs_seconds(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begin = time.monotonic()
        found = ask()
    assert time.monotonic() - begin < diagnostics.HUB_TIMEOUT_S + 3
    assert found.status == "limited"
    assert "not reachable (timed out)" in found.value
