"""API keys: who may call. A key is random, shown once and kept nowhere; its SHA-256 stands in a file.

A key has 256 random bits, so a plain hash cannot be guessed back and needs no salt. Knows files; knows no HTTP.
"""

import hashlib
import hmac
import logging
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from segray.errors import ConfigError

_LOG: Final = logging.getLogger(__name__)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_PREFIX: Final = "segray_"


@dataclass(frozen=True)
class NewKey:
    """A key that was just made."""

    key: str
    """What its owner sends; it cannot be shown again."""
    line: str
    """What the key file holds."""


def make(name: str) -> NewKey:
    """A new random key for whom `name` tells.

    Raises:
        ConfigError: a name that a key file cannot hold.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be a key's name: use letters, digits, '.', '_' and '-'")
    key = _PREFIX + secrets.token_urlsafe(32)
    return NewKey(key=key, line=f"{name} {_digest(key)}")


class Keyring:
    """The keys of a file, read again when it changes. What a change broke is logged, and the old keys go on."""

    def __init__(self, path: str) -> None:
        """Read the file.

        Raises:
            ConfigError: it cannot be read, holds a line that is none, or no key at all.
        """
        self._path = Path(path)
        self._state = self._look()
        self._hashes = _parse(self._path)
        if not self._hashes:
            raise ConfigError(f"{path}: holds no key, so nobody could call; `segray key NAME` makes one")

    def admits(self, key: str) -> bool:
        """Whether the key is one of them. All are compared, each in constant time."""
        self._refresh()
        digest = _digest(key)
        return sum(hmac.compare_digest(one, digest) for one in self._hashes.values()) > 0

    def _refresh(self) -> None:
        state = self._look()
        if state == self._state:
            return
        self._state = state
        try:
            self._hashes = _parse(self._path)
            _LOG.info("the key file changed: %d keys", len(self._hashes))
        except ConfigError as error:
            _LOG.warning("the key file changed, the keys before go on: %s", error)

    def _look(self) -> tuple[int, int, int] | None:
        """What differs when the file was written again or exchanged for another, as a mounted secret is."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _parse(path: Path) -> dict[str, str]:
    """Hash by name; blank lines and those that begin with # are passed over."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(
            f"{path}: the key file cannot be read ({why}); `segray key NAME` makes a line of it"
        ) from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or not _NAME.fullmatch(words[0]) or not _HASH.fullmatch(words[1]):
            raise ConfigError(f"{path}: line {number} is not `NAME SHA256-HEX`; `segray key NAME` makes one")
        if words[0] in found:
            raise ConfigError(f"{path}: line {number} names {words[0]!r} a second time")
        found[words[0]] = words[1]
    return found


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
