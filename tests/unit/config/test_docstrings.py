"""Every key of a config says what it means, in a sentence that begins as one."""

import pytest

from segray.config import schema
from segray.job_configs import JOBS

FORBIDDEN = {"What", "Which", "Whether", "How", "Where", "Who", "Of", "As", "See", "Its"}
"""Words with which no docstring of a config begins: a reader of one line could not tell what it is about."""
EMPTY = ("plays no part", "play no part", "unused", "not used")
"""What no docstring says of a setting: one without effect is an error (`base.refuse_without_effect`)."""

CLASSES = sorted({cls for root in JOBS.values() for _, cls in schema.tables(root)}, key=lambda cls: cls.__name__)


def texts(cls: type) -> dict[str, str]:
    """Return the docstrings of a class and of its fields; `kind` chooses the class, whose own says what it is."""
    fields = {f"{cls.__name__}.{one.name}": one.description for one in schema.settings(cls) if one.name != "kind"}
    return {cls.__name__: (cls.__doc__ or "").strip(), **fields}


def problem(text: str) -> str | None:
    """Return what is wrong with a docstring, if anything."""
    if not text:
        return "is missing"
    first = text.split(maxsplit=1)[0].strip(".,:;'")
    if first in FORBIDDEN:
        return f"begins with {first}"
    if not (text[0].isupper() or text[0].isdigit()) or text[-1] != ".":
        return "is no sentence"
    return next((f"says {words!r}" for words in EMPTY if words in text), None)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_docstrings_are_sentences_that_say_what_a_setting_is(cls: type) -> None:
    assert {name: found for name, text in texts(cls).items() if (found := problem(text))} == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Random seed used to draw the sample.", None),
        ("", "is missing"),
        ("Of the sample.", "begins with Of"),
        ("as many as fit", "is no sentence"),
        ("Side in pixels, unused here.", "says 'unused'"),
    ],
)
def test_a_bad_docstring_is_found(text: str, found: str | None) -> None:
    assert problem(text) == found
