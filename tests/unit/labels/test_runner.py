"""When parts that workers give back stop the job; the pool itself is in tests/ray."""

import pytest

from segray.errors import LabelError
from segray.formats.folder import FolderSource
from segray.formats.registry import open_source
from segray.labels.attempts import part_key
from segray.labels.pending_rows import PendingRows
from segray.labels.runner import MAX_GIVEN_BACK, GivenBack
from segray.store.rows import image_rows
from segray.testing import write_images


@pytest.fixture
def parts(tmp_path):
    write_images(tmp_path, 6)
    with PendingRows(open_source(FolderSource(uri=str(tmp_path))).rows()) as pending:
        yield list(pending.parts(2))


def keys(parts):
    return [part_key(image_rows(part)) for part in parts]


def test_what_was_given_back_is_what_remains(parts):
    given_back = GivenBack(most_workers=2)
    assert given_back.remaining(parts) == []
    given_back.add(keys(parts)[1], "w1", "no weights")
    given_back.committed()
    assert keys(given_back.remaining(parts)) == keys(parts)[1:2]


def test_all_workers_without_a_commit_stop_the_job(parts):
    given_back = GivenBack(most_workers=2)
    given_back.add(keys(parts)[0], "w1", "no weights")
    given_back.committed()
    given_back.add(keys(parts)[1], "w2", "no weights")
    with pytest.raises(LabelError, match="no worker can do its parts: broken"):
        given_back.add(keys(parts)[2], "w1", "broken")


def test_a_pass_without_a_commit_stops_the_job(parts):
    given_back = GivenBack(most_workers=100)
    given_back.add(keys(parts)[0], "w1", "no weights")
    with pytest.raises(LabelError, match="no weights"):
        given_back.remaining(parts)


def test_one_worker_of_many_that_gives_back_without_end_stops_the_job():
    given_back = GivenBack(most_workers=100)
    for number in range(MAX_GIVEN_BACK):
        given_back.add(str(number), "w1", "no weights")
    with pytest.raises(LabelError, match="no weights"):
        given_back.add("one more", "w1", "no weights")
