"""Changes that make a good input a bad one: of bytes, of text and of JSON. All follow a random generator's seed."""

import copy
import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, "", " ", "0", "1e400", "NaN", "\u0000", "\ud800", "../../etc/passwd", "a::b", "é" * 300),
    *(0, 1, -1, 2**31, 2**63, -(2**63), 2**64, 10**400, 0.5, -0.0, 1e308, 1e-308, float("nan"), float("inf")),
    *([], {}, [[]], [None], {"a": 1}, [1, 2], [[0, 0, 1e9, 0, 1e9, 1e9]], {"size": [0, 0], "counts": []}),
)
"""Values that stand where others are expected."""


def changed_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes that are cut, overwritten, doubled, swapped or put in, in one to four places."""
    found = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if not found:
            break
        start = int(rng.integers(len(found)))
        length = int(min(len(found) - start, rng.choice([1, 1, 2, 4, 8, 64, 4096])))
        match rng.integers(5):
            case 0:
                found[start : start + length] = rng.bytes(length)
            case 1:
                del found[start : start + length]
            case 2:
                found[start:start] = found[start : start + length]
            case 3:
                del found[start:]
            case _:
                found[start : start + length] = bytes([int(rng.choice([0, 0x7F, 0x80, 0xFF]))]) * length
    return bytes(found)


def changed_json(document: Any, rng: np.random.Generator) -> Any:
    """Return a document of which one to three values are odd, missing, doubled, or in another's place."""
    found = copy.deepcopy(document)
    for _ in range(rng.integers(1, 4)):
        places = list(_places(found))
        if not places:
            break
        home, key = places[int(rng.integers(len(places)))]
        other_home, other_key = places[int(rng.integers(len(places)))]
        match rng.integers(6):
            case 0 | 1 | 2:
                home[key] = copy.deepcopy(ODD[int(rng.integers(len(ODD)))])
            case 3:
                del home[key]
            case 4 if isinstance(home, list):
                home.append(copy.deepcopy(home[key]))
            case _:
                home[key] = copy.deepcopy(other_home[other_key]) if _is_there(other_home, other_key) else None
    return found


def changed_text(text: str, rng: np.random.Generator) -> str:
    """Return text of which a few words are odd, missing or doubled."""
    words = text.split(" ")
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(words)))
        match rng.integers(3):
            case 0:
                words[at] = str(ODD[int(rng.integers(len(ODD)))])
            case 1:
                words[at] = ""
            case _:
                words.insert(at, words[at])
    return " ".join(words)


def as_json(document: Any) -> bytes:
    """Return a document as careless writers of JSON write it, with NaN and lone surrogates."""
    return json.dumps(document).encode()


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a value, as what holds it and its key there."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in list(items):
        yield document, key
        yield from _places(value)


def _is_there(home: Any, key: Any) -> bool:
    return key in home if isinstance(home, dict) else key < len(home)
