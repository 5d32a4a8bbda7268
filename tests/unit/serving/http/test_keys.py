import hashlib
import logging
import os

import pytest
from typer.testing import CliRunner

from segray.cli import app
from segray.errors import ConfigError
from segray.serving.http.keys import Keyring, make

HASH = "0" * 64


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys"


def rewrite(path, text):
    """As an operator does; the time is set on, for a file system whose clock is coarse."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def test_a_key_is_admitted_and_no_other(path):
    mine, other = make("mine"), make("other")
    path.write_text(f"# people\n\n{mine.line}\n{other.line}\n")
    ring = Keyring(str(path))
    assert ring.admits(mine.key)
    assert ring.admits(other.key)
    assert not any(
        ring.admits(key) for key in ("", "segray_", mine.key[:-1], mine.key + "x", mine.line.split()[1], "ü\udc80")
    )


def test_keys_differ_and_stand_nowhere():
    one, two = make("mine"), make("mine")
    assert one.key != two.key
    assert one.key not in one.line
    assert one.line == f"mine {hashlib.sha256(one.key.encode()).hexdigest()}"


def test_a_rotated_file_counts_at_once(path):
    old, new = make("old"), make("new")
    path.write_text(old.line)
    ring = Keyring(str(path))
    rewrite(path, f"{old.line}\n{new.line}")
    assert ring.admits(old.key)
    assert ring.admits(new.key)
    rewrite(path, new.line)
    assert not ring.admits(old.key)
    assert ring.admits(new.key)
    rewrite(path, "")
    assert not ring.admits(new.key)


def test_a_file_exchanged_for_another_counts_at_once(path):
    """As Kubernetes exchanges a mounted secret: a link is moved; size and time may be the same."""
    old, new = make("same"), make("same")
    for name, made in (("one", old), ("two", new)):
        (path.parent / name).write_text(made.line)
        os.utime(path.parent / name, ns=(1, 1))
    path.symlink_to("one")
    ring = Keyring(str(path))
    (path.parent / "link").symlink_to("two")
    (path.parent / "link").replace(path)
    assert not ring.admits(old.key)
    assert ring.admits(new.key)


@pytest.mark.parametrize("broken", ["no hash", None], ids=["malformed", "gone"])
def test_a_change_that_breaks_the_file_keeps_the_keys_and_says_so(path, broken, caplog):
    mine = make("mine")
    path.write_text(mine.line)
    ring = Keyring(str(path))
    path.unlink() if broken is None else rewrite(path, broken)
    with caplog.at_level(logging.WARNING):
        assert ring.admits(mine.key)
        assert ring.admits(mine.key)
    assert len(caplog.records) == 1
    assert mine.line.split()[1] not in caplog.text
    rewrite(path, "")
    assert not ring.admits(mine.key)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"\xff\xfe", "cannot be read (not text)"),
        (b"", "holds no key"),
        (b"# only words\n", "holds no key"),
        (b"mine", "line 1 is not `NAME SHA256-HEX`"),
        (f"\nmine {HASH[1:]}".encode(), "line 2 is not"),
        (f"mine {HASH} more".encode(), "line 1 is not"),
        (f"mi/ne {HASH}".encode(), "line 1 is not"),
        (f"mine {HASH}\nmine {HASH}".encode(), "line 2 names 'mine' a second time"),
    ],
)
def test_a_file_that_is_none_is_an_error_at_the_start(path, content, message):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Keyring(str(path))
    assert message in str(caught.value)
    assert HASH not in str(caught.value)


def test_the_command_prints_a_key_and_its_line(path):
    done = CliRunner().invoke(app, ["key", "phone"])
    assert done.exit_code == 0
    _, key, _, line = (one.strip() for one in done.output.splitlines())
    path.write_text(line)
    assert line.startswith("phone ")
    assert Keyring(str(path)).admits(key)


def test_a_name_that_the_file_cannot_hold_is_refused():
    with pytest.raises(ConfigError, match="cannot be a key's name"):
        make("two words")
