"""`segray submit` against a real head with token auth: what is sent runs there, is followed, and ends as it ends."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest

from segray import cli
from segray.jobs import submit as submitting
from segray.jobs.submit import JobsApi
from segray.store import catalog
from segray.testing import write_images

# Whoever runs tests in the background of a shell has it ignored, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

PATIENCE_S = 600
TOKEN = "a-token-that-only-this-head-knows-0123456789"
CONFIG = """
job = "label"
stores = "{root}/stores"
source = {{ kind = "folder", uri = "{root}/images" }}
sam = {{ kind = "original", model = "nano" }}
masks = {{ points_per_side = 4 }}
workers = {{ num_workers = 1, images_per_part = 1, images_per_batch = 1 }}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def address(head):
    """Of a head whose machine has the dependencies and no code of ours."""
    port = free_port()
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "PYTHONPATH": "",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with head(f"--dashboard-port={port}", "--port=0", "--num-cpus=2", **environment) as process:
        url = f"http://127.0.0.1:{port}"
        while not answers(f"{url}/api/version"):
            assert process.poll() is None
            time.sleep(0.2)
        yield url


def answers(url):
    try:
        urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"}), timeout=5)
    except (urllib.error.URLError, OSError):
        return False
    return True


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Outside of the checkout."""
    root = tmp_path_factory.mktemp("submitted")
    write_images(root / "images", 3, side=32)
    path = root / "label.toml"
    path.write_text(CONFIG.format(root=root))
    return path


ELSEWHERE = "192.0.2.1:1"


def command(address, *arguments):
    environment = os.environ | {"RAY_AUTH_TOKEN": TOKEN, "RAY_ADDRESS": ELSEWHERE}
    return subprocess.Popen(
        [sys.executable, "-m", "segray.cli", "submit", *map(str, arguments), "--address", address],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def submit(address, *arguments, token=TOKEN):
    """(exit status, stdout, stderr) of the command, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["segray", "submit", *map(str, arguments), "--address", address])
        patch.setenv("RAY_ADDRESS", ELSEWHERE)
        patch.delenv("RAY_AUTH_TOKEN", raising=False)
        if token:
            patch.setenv("RAY_AUTH_TOKEN", token)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return ended.value.code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module", autouse=True)
def labeling(address, config):
    """A job that takes its time, beside all others: the last test waits for it."""
    process = command(address, "label", config, "sample=2", "source.name='with a blank'")
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize(("token", "message"), [("wrong" * 8, "token was refused"), (None, "token is needed")])
def test_who_has_no_token_is_told_so(address, config, token, message):
    status, _, err = submit(address, "label", config, token=token)
    assert status == 1
    assert message in err
    assert TOKEN not in err


def test_an_address_where_nobody_answers(config):
    status, _, err = submit(f"http://127.0.0.1:{free_port()}", "label", config)
    assert status == 1
    assert "no Ray job server answers there" in err


def test_a_wrong_config_never_leaves_this_machine(config):
    status, _, err = submit("http://192.0.2.1:1", "label", config, "masks.points_per_side=0")
    assert status == 2
    assert "masks.points_per_side" in err


def test_with_image_code_no_code_is_sent_and_the_jobs_failure_is_the_commands(address, config):
    status, out, _ = submit(address, "label", config, "--image-code", "--name", "no-code")
    assert status == 1
    assert "No module named 'jobs'" in out


class Line:
    """The way to the cluster, which can be cut: a TCP proxy on a port of its own."""

    def __init__(self, address):
        host, port = address.removeprefix("http://").split(":")
        self.target, self.open = (host, int(port)), []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        for one in self.open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            near, _ = self.server.accept()
            far = socket.create_connection(self.target)
            self.open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def read_until(stream, word):
    """Lines up to the one that has the word."""
    lines = []
    for line in stream:
        lines.append(line)
        if word in line:
            return lines
    pytest.fail(f"{word!r} never came: {''.join(lines)}")


@pytest.fixture(scope="module")
def asleep(tmp_path_factory):
    """Options for a cluster whose image has other code: a label job that sleeps."""
    image = tmp_path_factory.mktemp("image")
    (image / "jobs").mkdir()
    (image / "jobs" / "label.py").write_text("import time\nprint('asleep', flush=True)\ntime.sleep(3600)\n")
    return "--image-code", "--env", f"PYTHONPATH={image}"


@pytest.fixture(scope="module")
def running(address, config, asleep):
    """The id of a job that does not end."""
    status, out, err = submit(address, "label", config, "--no-wait", "--name", "long", *asleep)
    assert status == 0, err
    yield out.strip()
    api(address).client.stop_job(out.strip())


def api(address):
    os.environ["RAY_AUTH_TOKEN"] = TOKEN
    try:
        return JobsApi(address)
    finally:
        del os.environ["RAY_AUTH_TOKEN"]


def test_the_same_job_is_not_sent_twice(address, config, running):
    status, out, err = submit(address, "label", config, "--no-wait", "--name", "long")
    assert status == 0
    assert out.strip() == running == "long-1"
    assert "under way already" in err


def test_one_job_starts_where_two_are_sent_at_once(address, config):
    both = [command(address, "label", config, "--no-wait", "--image-code", "--name", "twice") for _ in range(2)]
    said = [process.communicate(timeout=PATIENCE_S) for process in both]
    sent = [job.submission_id for job in api(address).client.list_jobs() if job.metadata.get("segray") == "twice"]
    assert {process.returncode for process in both} <= {0, 1}, said
    assert len(set(sent)) == len(sent)
    assert "twice-1" in sent


def test_a_lost_connection_is_made_again_and_nothing_is_told_twice(address, monkeypatch):
    # Less than it is followed before each cut.
    monkeypatch.setattr(submitting, "PATIENCE_S", 1.0)
    monkeypatch.setattr(submitting, "PAUSE_S", 0.2)
    line, said = Line(address), []
    far = api(line.address)
    job = far.client.submit_job(entrypoint="for i in $(seq 50); do echo line $i; sleep 0.1; done; exit 7")

    def say(text):
        said.append(text)
        if len(said) in (2, 4):
            line.cut()

    assert far.follow(job, say) == 7
    assert "".join(said) == far.client.get_job_logs(job)
    assert len(said) > 4
    assert [text for text in "".join(said).splitlines() if text.startswith("line")] == [
        f"line {i}" for i in range(1, 51)
    ]


def test_who_stops_following_is_told_that_the_job_goes_on_and_how_to_end_it(address, config, running):
    process = command(address, "label", config, "--name", "long")
    read_until(process.stdout, "asleep")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert f"{running} goes on" in err
    assert not api(address).client.get_job_status(running).is_terminal()
    stop = err.partition("To stop it: ")[2].strip()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(stop, shell=True, env=os.environ | {"RAY_AUTH_TOKEN": TOKEN, "PATH": path}, check=False)
    assert done.returncode == 0
    assert api(address).client.get_job_status(running) == "STOPPED"


def test_a_stopped_job_fails_and_the_next_one_is_another(address, config, running, asleep):
    said, cluster = [], api(address)
    cluster.client.stop_job(running)
    assert cluster.follow(running, said.append) == 1
    assert f"{running}: stopped" in "".join(said)
    status, out, _ = submit(address, "label", config, "--no-wait", "--name", "long", *asleep)
    assert status == 0
    assert out.strip() == "long-2"


def test_a_job_runs_from_what_was_sent_and_is_followed(labeling, config):
    out, err = labeling.communicate(timeout=PATIENCE_S)
    assert labeling.returncode == 0, out + err
    assert "submitted" in err
    assert "Traceback" not in err
    assert f"stores = {config.parent}/stores" in err
    assert "images/s" in out
    (info,) = catalog(str(config.parent / "stores"))
    assert info.images == 2
