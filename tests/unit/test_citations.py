"""Citations of the methods' documentation lead to pages and headings that exist, and pages name modules that exist."""

import re
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "methods"
ROOMS = (
    "platform",
    "tools",
    "bench",
    "configs",
    "tests",
    "jobs",
    "serve",
    "docs",
    "examples",
    "README.md",
    "CHANGELOG.md",
)
TEXT = {".py", ".toml", ".md", ".j2", ".yaml", ".ipynb"}

CITATION = re.compile(r"docs/methods/(?P<page>[\w-]+\.md)(?:#(?P<anchor>[\w-]+))?")
LINK = re.compile(r"\]\((?P<page>[\w./-]*)(?:#(?P<anchor>[\w-]+))?\)")
MODULE = re.compile(r"`(segray(?:\.\w+)+)`")


def files() -> list[Path]:
    """Return the texts that may cite, this file left out."""
    found = [path for room in ROOMS for path in (ROOT / room, *(ROOT / room).rglob("*")) if path.suffix in TEXT]
    return [path for path in found if path != Path(__file__)]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors that GitHub gives a page's headings: lower case, no punctuation, hyphens for spaces."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, flags=re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


def problem(page: Path, anchor: str | None) -> str | None:
    """Return what is wrong with a citation of a page and one of its anchors."""
    if not page.exists():
        return "no such page"
    return None if anchor is None or anchor in anchors(page) else "no such heading"


def test_every_citation_of_a_method_leads_to_a_heading() -> None:
    cited = [(path, match) for path in files() for match in CITATION.finditer(path.read_text())]
    wrong = {
        f"{path.relative_to(ROOT)}: {match[0]}: {found}"
        for path, match in cited
        if (found := problem(PAGES / match["page"], match["anchor"]))
    }
    assert not wrong


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.name)
def test_links_between_pages_lead_to_headings(page: Path) -> None:
    links = list(LINK.finditer(page.read_text()))
    assert links
    wrong = {
        f"{match[0]}: {found}"
        for match in links
        if (found := problem((PAGES / match["page"]).resolve() if match["page"] else page, match["anchor"]))
    }
    assert not wrong


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.name)
def test_pages_name_modules_that_exist(page: Path) -> None:
    assert not [name for name in set(MODULE.findall(page.read_text())) if find_spec(name) is None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("## Pseudo-labels", {"pseudo-labels"}),
        ("## V1 network\n### Results\n## Results", {"v1-network", "results", "results-1"}),
        ("# What it isn't: `a_b` (1.2)", {"what-it-isnt-a_b-12"}),
        ("```\n# a comment\n```\n## Real", {"real"}),
    ],
)
def test_anchors_follow_the_rules_of_github(tmp_path: Path, text: str, expected: set[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    assert anchors(page) == expected
