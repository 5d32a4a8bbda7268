import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from segray.errors import StoreError
from segray.storage.lease import Claim, Lease
from segray.store import Store

WORKER = Path(__file__).with_name("worker.py")


def quick(store, holder="second"):
    return Lease(store.uri, holder, beat_s=0.05, patience_s=0.4, settle_s=0.05)


def elsewhere(store, **changes):
    claim = replace(Claim.mine("first"), machine="another", host="node-7", **changes)
    path = Path(store.uri) / "lease.json"
    path.write_text(json.dumps(asdict(claim)))
    return path, claim


@pytest.fixture
def s3_store(s3_bucket):
    return Store.create(s3_bucket, "masks", {"a": 1})


@pytest.mark.parametrize("kind", ["store", "s3_store"])
def test_a_second_job_is_told_who_holds_the_store(request, kind):
    store = request.getfixturevalue(kind)
    with store.lease("label job") as lease:
        since = re.escape(lease._claim.since)
        for other in (store.lease("another"), Store.open(store.uri).lease("another")):
            with (
                pytest.raises(StoreError, match=rf"held by 'label job' \(process {os.getpid()} on .*, since {since}"),
                other,
            ):
                pass
        for work in (store.compact, store.delete, lambda: store.remove_image("a")):
            with pytest.raises(StoreError, match="held by 'label job'"):
                work()
        lease.check()
    with store.lease("another"):
        pass


def test_a_killed_holder_of_this_machine_is_followed_at_once(store, caplog):
    command = [sys.executable, str(WORKER), "hold", store.uri]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": "platform"}, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(StoreError, match=f"process {process.pid}"), store.lease("second"):
            pass
        process.kill()
        # Not reaped yet: a process that is only a name.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with store.lease("second"):
            assert "taking over from 'worker'" in caplog.text


def test_a_number_that_came_again_is_another_process(store):
    claim = replace(Claim.mine("first"), process="1")
    (Path(store.uri) / "lease.json").write_text(json.dumps(asdict(claim)))
    with store.lease("second"):
        pass


@pytest.mark.parametrize("text", [None, "", "{}", "garbage"])
def test_a_holder_elsewhere_that_went_silent_is_waited_out(store, text):
    path, _ = elsewhere(store)
    if text is not None:
        path.write_text(text)
    started = time.monotonic()
    with quick(store):
        assert time.monotonic() - started >= 0.4
        assert json.loads(path.read_text())["holder"] == "second"
    assert not path.exists()


def test_a_holder_elsewhere_that_lives_keeps_the_store(store):
    path, claim = elsewhere(store)
    stop = threading.Event()

    def live():
        for beat in range(10_000):
            temporary = path.with_name("next")
            temporary.write_text(json.dumps(asdict(replace(claim, beat=beat))))
            temporary.replace(path)
            if stop.wait(0.02):
                return

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(StoreError, match=r"held by 'first' .*node-7"), quick(store):
            pass
    finally:
        stop.set()
        thread.join()


def test_a_holder_elsewhere_that_ends_leaves_the_store_free(store):
    path, _ = elsewhere(store)
    timer = threading.Timer(0.1, path.unlink)
    timer.start()
    with Lease(store.uri, "second", beat_s=0.05, patience_s=60):
        pass


def test_a_lost_lease_is_noticed_and_left_to_its_new_holder(store):
    with quick(store) as lease:
        path, claim = elsewhere(store)
        assert lease._lost.wait(10)
        with pytest.raises(StoreError, match="lost"):
            lease.check()
        with pytest.raises(StoreError, match="lost"):
            store.compact(lease=lease)
    assert json.loads(path.read_text())["token"] == claim.token


def test_a_lease_is_renewed_and_ends_with_its_work(store):
    path = Path(store.uri) / "lease.json"

    def work():
        with quick(store):
            while json.loads(path.read_text())["beat"] < 2:
                time.sleep(0.02)
            raise KeyError("fails")

    with pytest.raises(KeyError, match="fails"):
        work()
    assert not path.exists()


def test_of_many_takers_of_a_dead_lease_one_gets_it(store):
    claim = replace(Claim.mine("first"), process="1")
    (Path(store.uri) / "lease.json").write_text(json.dumps(asdict(claim)))
    got, refused, held = [], [], threading.Event()

    def take(number):
        try:
            with quick(store, f"taker {number}"):
                got.append(number)
                held.wait(20)
        except StoreError:
            refused.append(number)
            if len(refused) == 7:
                held.set()

    threads = [threading.Thread(target=take, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
