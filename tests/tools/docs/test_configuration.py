"""The page of the configuration is what the config classes say, and its links lead somewhere."""

import re
from typing import Annotated, Any, Literal

import pydantic
import pytest

from segray.config.types import Count, Share
from segray.config.uris import StoreUri
from segray.config.views import StrongView
from tools.docs import configuration
from tools.docs.types import type_words, value_text

TEXT = configuration.page()


def test_the_committed_page_is_current() -> None:
    assert configuration.PAGE.read_text() == TEXT, "run `make docs-config`"


def test_every_link_leads_to_one_heading_or_page() -> None:
    headings = [configuration._anchor(title) for title in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)]
    links = re.findall(r"\]\(#([^)]+)\)", TEXT)
    pages = re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT)
    assert links
    assert {link for link in links if headings.count(link) != 1} == set()
    assert {page for page in pages if not (configuration.PAGE.parent / page).is_file()} == set()


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (bool, "`true` or `false`"),
        (Count, "whole number from 1"),
        (Share | None, 'number from 0 up to 1, or `"none"`'),
        (Annotated[int, pydantic.Field(ge=32, multiple_of=32)], "whole number from 32 in steps of 32"),
        (Literal["a", "b"], '`"a"` or `"b"`'),
        (StoreUri, "path or URI"),
        (tuple[str, ...], "list, each: text"),
        (tuple[int, int], "list of 2, each: whole number"),
        (dict[str, Any], "table"),
    ],
)
def test_types_in_words(hint: Any, words: str) -> None:
    assert type_words(hint) == words


def test_a_type_without_words_is_an_error() -> None:
    with pytest.raises(TypeError, match="no words for this type"):
        type_words(set[int])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, '"none"'),
        (True, "true"),
        (1 / 3, "0.3333"),
        (5e-4, "0.0005"),
        (100_000_000, "100000000"),
        ((1.0, 2.5), "[1.0, 2.5]"),
        (StrongView(), "{}"),
        (StrongView(hue=0.25), "{ hue = 0.25 }"),
    ],
)
def test_values_as_in_toml(value: Any, text: str) -> None:
    assert value_text(value) == text
