"""Labeling in this process: parts, commits, and what is left where the process ends."""

import subprocess
import sys

import pytest

from bench.counting_s3 import by_kind
from segray.config.label import LabelWorkers
from segray.formats.folder import FolderSource
from segray.formats.registry import open_source
from segray.labels import attempts
from segray.labels.committer import NOTES_AT_ONCE, PartCommitter, run_in_process
from segray.labels.pending_rows import PendingRows
from segray.storage import files
from segray.store import Store
from segray.testing import SleepingStage, write_images

DEADLY = "00003.png"


class Stage(SleepingStage):
    """Raises at an image, or ends the process there."""

    def build(self):
        labeler = super().build()

        def labeled(rows):
            for row in rows:
                if row.image_id == DEADLY:
                    self.end()
                yield from labeler([row])

        return labeled

    def end(self):
        raise KeyboardInterrupt


def label(stage, images, stores):
    """Label what the store lacks, two images to a part; yield counts."""
    store = Store.create(str(stores), stage.name, stage.content)
    with PendingRows(store.missing(open_source(FolderSource(uri=str(images))).rows())) as pending:
        return store, [part.images for part in run_in_process(stage, store, pending.parts(2))]


def test_parts_are_committed_in_order_and_nothing_is_done_twice(tmp_path):
    write_images(tmp_path / "images", 5)
    store, parts = label(SleepingStage(seconds=0), tmp_path / "images", tmp_path / "stores")
    assert parts == [2, 2, 1]
    assert store.info().parts == 3
    assert label(SleepingStage(seconds=0), tmp_path / "images", tmp_path / "stores")[1] == []


def test_an_exception_keeps_what_is_committed_and_blames_no_image(tmp_path):
    write_images(tmp_path / "images", 5)
    with pytest.raises(KeyboardInterrupt):
        label(Stage(seconds=0), tmp_path / "images", tmp_path / "stores")
    store, parts = label(SleepingStage(seconds=0), tmp_path / "images", tmp_path / "stores")
    assert parts == [2, 1]
    assert store.info().refused == {}
    assert not files.exists(files.join(store.uri, attempts.FOLDER))


def test_an_image_that_ends_the_process_each_time_is_refused(tmp_path):
    write_images(tmp_path / "images", 5)
    code = f"""
import os, runpy
from pathlib import Path
names = runpy.run_path({__file__!r})
names["Stage"].end = lambda self: os._exit(9)
names["label"](names["Stage"](seconds=0), Path({str(tmp_path / "images")!r}), {str(tmp_path / "stores")!r})
"""
    ends = [subprocess.run([sys.executable, "-c", code], check=False).returncode for _ in range(4)]
    assert ends == [9, 9, 9, 0]
    store = label(SleepingStage(seconds=0), tmp_path / "images", tmp_path / "stores")[0]
    assert len(store) == 5
    assert store[DEADLY].error == attempts.REASON


def test_no_actors_is_this_process():
    assert LabelWorkers(num_workers=0).in_process
    assert LabelWorkers(num_workers=0).most_workers == 1
    assert not LabelWorkers().in_process


def test_an_object_store_is_asked_once_for_an_image_and_twice_for_a_commit(tmp_path, s3_server, s3_bucket):
    for path in write_images(tmp_path, NOTES_AT_ONCE + 1, side=8):
        files.write_bytes_atomic(f"{s3_bucket}/images/{path.name}", path.read_bytes())
    stage, rows = SleepingStage(seconds=0), open_source(FolderSource(uri=f"{s3_bucket}/images")).rows()
    committer = PartCommitter(stage, Store.create(f"{s3_bucket}/stores", stage.name, stage.content), {})
    with PendingRows(rows) as pending, s3_server.counted() as requests:
        for part in pending.parts(1):
            committer.commit(part)
    number = NOTES_AT_ONCE + 1
    assert by_kind(requests) == {
        ("image", "GET"): number,
        ("attempt note", "PUT"): number,
        ("part", "PUT"): number,
        ("other", "DELETE-MANY"): 1,
    }
    assert len(list(files.list_files(f"{committer.store.uri}/attempts"))) == 1
