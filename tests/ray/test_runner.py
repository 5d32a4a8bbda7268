import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from segray.store import Store
from segray.store.rows import labeled_rows
from segray.testing import write_images

IMAGES = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    images = tmp_path_factory.mktemp("images")
    write_images(images, IMAGES)
    (images / "broken.png").write_bytes(b"\x89PNG no")
    return images


def content(store_uri):
    """Everything a store says of each image, and a failure where it says it twice."""
    found = {}
    for batch in Store.open(store_uri).rows():
        for row in labeled_rows(batch):
            assert row.image.image_id not in found
            masks = list(row.instances.counts) if row.instances is not None else None
            found[row.image.image_id] = (row.image.version, row.sha256, row.error, masks)
    return found


@pytest.fixture(scope="module")
def uninterrupted(folder, tmp_path_factory, start_driver):
    driver = start_driver(folder, tmp_path_factory.mktemp("stores"))
    begun = driver.next()
    events = driver.rest()
    assert driver.process.wait() == 0
    assert sum(event.get("images", 0) for event in events) == begun["pending"] == IMAGES + 1
    return content(begun["store"])


def finish(start_driver, folder, stores):
    """Run it again to the end: only what was missing is computed."""
    driver = start_driver(folder, stores)
    begun = driver.next()
    events = driver.rest()
    assert driver.process.wait() == 0
    assert events[-1] == {"done": True}
    assert begun["known"] + begun["pending"] == IMAGES + 1
    assert sum(event.get("images", 0) for event in events) == begun["pending"]
    return begun


def test_an_unusable_image_is_a_row_with_its_reason(uninterrupted):
    assert len(uninterrupted) == IMAGES + 1
    assert {image_id: row[2] for image_id, row in uninterrupted.items() if row[2]} == {"broken.png": "not-an-image"}


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_driver_loses_nothing_committed(seed, folder, tmp_path, start_driver, uninterrupted):
    moment = random.Random(seed)
    driver = start_driver(folder, tmp_path)
    driver.next()
    for _ in range(moment.randint(1, IMAGES // 2 - 6)):
        driver.next()
    time.sleep(moment.random() * 0.1)
    driver.kill()
    begun = finish(start_driver, folder, tmp_path)
    assert 0 < begun["known"] < IMAGES + 1
    assert content(begun["store"]) == uninterrupted


def actor_processes(cluster):
    """Pids of the pool's actors on this cluster's nodes, by Ray's process title; other tests have clusters too."""
    raylets = {one.process.pid for node in cluster.list_all_nodes() for one in node.all_processes["raylet"]}
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            title = status.with_name("cmdline").read_text()
            if parent in raylets and title.startswith("ray::") and "MapWorker" in title:
                found.append(int(status.parent.name))
    return found


def test_a_killed_worker_is_replaced_and_the_job_goes_on(cluster, folder, tmp_path, start_driver, uninterrupted):
    driver = start_driver(folder, tmp_path, 0.2)
    begun = driver.next()
    driver.next()
    victims = actor_processes(cluster)
    assert victims
    os.kill(victims[0], signal.SIGKILL)
    assert driver.rest()[-1] == {"done": True}
    assert content(begun["store"]) == uninterrupted


def test_a_lost_node_costs_only_time(cluster, folder, tmp_path, start_driver, uninterrupted):
    node = cluster.add_node(num_cpus=2, object_store_memory=100 * 2**20)
    driver = start_driver(folder, tmp_path, 0.2)
    begun = driver.next()
    driver.next()
    cluster.remove_node(node, allow_graceful=False)
    assert driver.rest()[-1] == {"done": True}
    assert content(begun["store"]) == uninterrupted


def test_more_and_changed_images_are_all_that_is_computed(tmp_path, start_driver):
    images, stores = tmp_path / "images", tmp_path / "stores"
    write_images(images, 6)
    counts = []
    for change in (
        lambda: None,
        lambda: write_images(images, 3, first=6),
        lambda: write_images(images, 1, seed=9, first=2),
    ):
        change()
        driver = start_driver(images, stores)
        counts.append(driver.next()["pending"])
        assert driver.rest()[-1] == {"done": True}
    driver = start_driver(images, stores)
    counts.append(driver.next()["pending"])
    driver.rest()
    assert counts == [6, 3, 1, 0]


def test_the_second_of_two_jobs_is_told_who_holds_the_store(folder, tmp_path, start_driver, uninterrupted):
    first = start_driver(folder, tmp_path, held=True)
    begun = first.next()
    second = start_driver(folder, tmp_path)
    (refusal,) = second.rest()
    assert f"process {first.process.pid} " in refusal["error"]
    assert second.process.wait() != 0
    first.process.stdin.close()
    assert first.rest()[-1] == {"done": True}
    assert content(begun["store"]) == uninterrupted
