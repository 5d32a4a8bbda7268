"""Class names, a line each, whatever is in them."""

import pytest

from segray.errors import SourceError
from segray.formats.label_names import labels_text, read_labels

ODD = (
    "background",
    "traffic, light",
    "line\nbreak",
    " blanks ",
    '"quoted"',
    "é 漢",
    "same",
    "same",
    "#hash",
    "",
    "\u2028",
    "half \udc80",
)


def test_odd_names_come_back_each_on_its_line(tmp_path):
    (tmp_path / "labels.txt").write_text(labels_text(ODD), encoding="utf-8", newline="")
    assert read_labels(str(tmp_path / "labels.txt")) == ODD
    assert (tmp_path / "labels.txt").read_bytes().count(b"\n") == len(ODD)
    assert labels_text(("cat", "traffic, light")) == "cat\ntraffic, light\n"


@pytest.mark.parametrize("data", [b"\xef\xbb\xbfcat\r\ndog\r\n", b"cat\ndog"])
def test_files_of_other_editors_are_read(tmp_path, data):
    (tmp_path / "labels.txt").write_bytes(data)
    assert read_labels(str(tmp_path / "labels.txt")) == ("cat", "dog")


def test_what_is_no_text_is_an_error(tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match=r"labels\.txt: not a list of class names"):
        read_labels(str(tmp_path / "labels.txt"))
