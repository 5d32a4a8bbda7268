"""The store under kills: real processes ended at random moments, and a failure after every single step of a merge."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segray.storage import commits
from segray.store import Store, compaction, keys, part_listing
from segray.store.rows import labeled_rows

WORKER = Path(__file__).with_name("worker.py")
IMAGES = 240


def start(*arguments):
    environment = {**os.environ, "PYTHONPATH": "platform"}
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def killed(word, times, seconds, *arguments):
    """What a worker said before it was killed: some seconds after it had said a word so many times."""
    with start(*arguments) as process:
        said = []
        while sum(line.startswith(word) for line in said) < times and "done\n" not in said:
            said.append(process.stdout.readline())
        time.sleep(seconds)
        process.kill()
        return [line.split() for line in [*said, *process.stdout]]


def content(store):
    """All that a store holds, by image, and that it holds it once."""
    rows = [row for batch in store.rows() for row in labeled_rows(batch)]
    found = {row.image: (row.error, None if row.error else list(row.instances.counts)) for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.slow
def test_killed_at_random_moments_nothing_is_lost_or_twice(tmp_path):
    store = Store.create(str(tmp_path), "masks", {"a": 1})
    moments = random.Random(5)
    done, hit = set(), 0
    for seed in range(10):
        word, times = ("merging", 1) if seed % 2 else ("computed", moments.randint(1, 6))
        said = killed(word, times, moments.uniform(0, 0.05), "label", store.uri, 0, IMAGES, seed)
        computed = [name for kind, *names in said if kind == "computed" for name in names]
        assert not done & set(computed), "computed again what was committed"
        done |= {name for kind, *names in said if kind == "committed" for name in names}
        found = {image.image_id for image in content(store)}
        assert done <= found
        assert len(found - done) <= 4
        done = found
        hit += 0 < len(found) < IMAGES
    assert hit >= 5
    with start("label", store.uri, 0, IMAGES, 99) as process:
        assert process.stdout.read().endswith("done\n")
    whole = Store.create(str(tmp_path), "masks", {"a": 2})
    with start("label", whole.uri, 0, IMAGES, 7) as process:
        assert process.stdout.read().endswith("done\n")
    assert content(store) == content(whole)
    assert len(content(store)) == IMAGES


def test_two_writers_at_once(tmp_path):
    store = Store.create(str(tmp_path), "masks", {"a": 1})
    with start("write", store.uri, 0, 120, 1) as first, start("write", store.uri, 60, 180, 2) as second:
        assert first.stdout.read().endswith("done\n")
        assert second.stdout.read().endswith("done\n")
    assert {int(image.image_id) for image in content(store)} == set(range(180))
    store.compact()
    assert {int(image.image_id) for image in content(store)} == set(range(180))


def test_merging_while_others_write_and_read(tmp_path):
    store = Store.create(str(tmp_path), "masks", {"a": 1})
    with start("write", store.uri, 0, 160, 1) as first, start("write", store.uri, 0, 160, 2) as second:
        assert (first.stdout.readline(), second.stdout.readline()) == ("ready\n", "ready\n")
        seen = set()
        while first.poll() is None or second.poll() is None:
            store.compact(part_bytes=20_000)
            found = set(content(store))
            assert seen <= found
            seen = found
    assert len(content(store)) == 160


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def dying(step, *counted):
    """Run on until `step` steps were done, each one of the `counted` functions of `disk` or `listing`."""
    left = iter(range(step))

    def count(function):
        def counting(*arguments):
            if next(left, None) is None:
                raise Killed
            return function(*arguments)

        return counting

    return {name: count(function) for name, function in counted}


@pytest.mark.parametrize("work", ["merge", "remove"])
def test_dying_after_any_step_loses_nothing(tmp_path, monkeypatch, row, work):
    """Every place between two changes on disk, one after the other."""
    for step in range(100):
        store = Store.create(str(tmp_path), "masks", {"step": step})
        for number in range(4):
            store.write_part([row(f"{number}-{place}") for place in range(3)])
        store.compact(part_bytes=25_000)
        store.write_part([row("0-0"), row("new", error="cut")])
        store.write_part([row("0-0", "2"), row("new")])
        expected = content(store)
        try:
            with monkeypatch.context() as patch:
                counted = [(name, getattr(commits, name)) for name in ("commit", "delete", "delete_folder")]
                for name, function in dying(step, *counted).items():
                    patch.setattr(commits, name, function)
                if work == "merge":
                    compaction.merge(store.uri, 10**6)
                else:
                    compaction.remove(store.uri, "0-0")
            finished = True
        except Killed:
            finished = False
        if work == "remove":
            left = {image: held for image, held in content(store).items() if image.image_id != "0-0"}
            assert left == {image: held for image, held in expected.items() if image.image_id != "0-0"}
            store.remove_image("0-0")
            assert content(store) == left
            assert {image.image_id for image in store.missing(expected)} == {"0-0"}
        else:
            assert content(store) == expected
            assert list(store.missing(expected)) == []
            store.compact()
            assert content(store) == expected
            assert store.info().parts == 1
        if finished:
            break
    assert finished
    assert step >= 8


def test_a_part_that_goes_while_it_is_read_makes_a_new_listing(store, row):
    store.write_part([row("a")])
    store.write_part([row("b")])
    seen = []

    def work(parts):
        seen.append(len(parts))
        if len(seen) == 1:
            store.compact()
        return [table.num_rows for table in keys.read_ahead(parts, ("key",))]

    assert part_listing.with_parts(store.uri, work) == [2]
    assert seen == [2, 1]


def test_a_listing_during_which_parts_were_replaced_is_done_again(monkeypatch, store, row):
    store.write_part([row("a")])
    store.write_part([row("b")])
    list_parts, raced = part_listing.list_parts, []

    def racing(uri):
        if raced:
            return list_parts(uri)
        # Passed where the new part was put, came too late for the old ones.
        raced.append(uri)
        store.compact()
        return []

    monkeypatch.setattr(part_listing, "list_parts", racing)
    assert part_listing.with_parts(store.uri, len) == 1
