"""`labels.txt`: class names by index, a line each.

A name that a line cannot hold as it is (line breaks, blanks at its ends, a quote at its beginning, half a surrogate
pair) is a JSON string.
"""

import json
from collections.abc import Sequence
from typing import Final

from segray.errors import SourceError
from segray.storage import files

LABELS: Final = "labels.txt"


def labels_text(names: Sequence[str]) -> str:
    """Return the file's text."""
    return "".join(f"{_line(name)}\n" for name in names)


def read_labels(uri: str) -> tuple[str, ...]:
    """Return the names that a file has.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        lines = files.read_bytes(uri).decode("utf-8-sig").split("\n")
        return tuple(_name(line.removesuffix("\r")) for line in (lines[:-1] if lines[-1] == "" else lines))
    except ValueError as error:
        raise SourceError(f"{uri}: not a list of class names ({error})") from error


def _line(name: str) -> str:
    plain = name and name == name.strip() and len(name.splitlines()) == 1 and not name.startswith('"')
    plain = plain and not any("\ud800" <= letter <= "\udfff" for letter in name)
    return name if plain else json.dumps(name)


def _name(line: str) -> str:
    return str(json.loads(line)) if line.startswith('"') else line
