"""Citations of the methods' documentation lead to pages and headings that exist, and pages name modules that exist.

A constant's source is a page of docs/methods and a heading, or a paper and its own section; never a bare number.
"""

import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "methods"
CODE = ("platform", "tools", "bench", "configs", "tests", "jobs", "serve", "examples")
TEXT = {".py", ".toml", ".md", ".j2", ".yaml", ".ipynb"}

CITATION = re.compile(r"docs/methods/(?P<page>[\w-]+\.md)(?:#(?P<anchor>[\w-]+))?")
LINK = re.compile(r"\]\((?P<page>[\w./-]*)(?:#(?P<anchor>[\w-]+))?\)")
MODULE = re.compile(r"`(segray(?:\.\w+)+)`")
MEMBER = re.compile(r"`(\w+)`\s+in\s+`(segray(?:\.\w+)+)`")
NOTES = re.compile(r"\bmethods\.md\b")

BARE = re.compile(
    r"""
    \( (?: [^()]* [:;,]\s+ | [^()]* \b(?:in|see|of)\s+ )?        # the start of a parenthesis, or of one of its clauses
    (?: [3-9] | 1[0-2] ) \. [1-9] (?: \.[1-9] )?               # 3.1 to 12.9: a section; 2.1 is a version of SAM
    (?: \s[A-H]\b | \sitems?\s\d )?                            # an item
    (?: \) | [,;]\s | \sand\s )                                # its end: no unit, no operator
    """,
    re.VERBOSE,
)
SECTION = re.compile(r"\bsections?\s\d")
PAPER = re.compile(r"arXiv|RFC")


def paths(*rooms: str) -> list[Path]:
    """Return the texts in folders of the repository and files in its root, this file left out."""
    found = (path for room in rooms for path in (ROOT / room, *(ROOT / room).rglob("*")))
    return [path for path in found if path.suffix in TEXT and path.is_file() and path != Path(__file__)]


def prose(path: Path) -> Iterator[str]:
    """Yield the docstrings and comments of a Python file, or the comments of a TOML file."""
    text = path.read_text()
    if path.suffix == ".toml":
        yield from re.findall(r"#.*", text)
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.string.startswith('"""')):
                yield token.string


def bare_sections(text: str) -> list[str]:
    """Return the section numbers in a docstring or comment that do not say of what."""
    found = [match[0] for match in BARE.finditer(text)]
    return found if PAPER.search(text) else found + [match[0] for match in SECTION.finditer(text)]


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


def defines(module: str, member: str) -> bool:
    """Return whether a module's source has a class or function of that name."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return re.search(rf"^(?:class|def) {member}\b", Path(spec.origin).read_text(), flags=re.MULTILINE) is not None


def problem(page: Path, anchor: str | None) -> str | None:
    """Return what is wrong with a citation of a page and one of its anchors."""
    if not page.exists():
        return "no such page"
    return None if anchor is None or anchor in anchors(page) else "no such heading"


def test_every_citation_of_a_method_leads_to_a_heading() -> None:
    texts = paths(*CODE, "docs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md")
    cited = [(path, match) for path in texts for match in CITATION.finditer(path.read_text())]
    assert len(cited) > 40
    wrong = {
        f"{path.relative_to(ROOT)}: {match[0]}: {found}"
        for path, match in cited
        if (found := problem(PAGES / match["page"], match["anchor"]))
    }
    assert not wrong


def test_no_section_number_stands_without_its_document() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {found}"
        for path in paths(*CODE)
        for found in (*NOTES.findall(path.read_text()), *(one for text in prose(path) for one in bare_sections(text)))
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Least class probability (3.2).", True),
        ("None takes all of SAM's (4.3, 4.8).", True),
        ("Kept where sure (7.4 F, variant 1; see docs).", True),
        ("Least area (4.4 item 2).", True),
        ("A fresh student (no copy of the teacher: 3.7).", True),
        ("Grey and blur (as in the papers; numbers differ in 5.2).", True),
        ("The softmax (4.7.7).", True),
        ("The rule of section 8.1.", True),
        ("The loss (arXiv 2112.01527, section 3.3).", False),
        ("The answer's form (RFC 9110, section 12.5.1).", False),
        ("SAM 2.1 (2.1 is the newer) and torch 1.6.", False),
        ("Decays by 0.9996 (a ratio of 0.996), 3.6 per hour.", False),
        ("Twice as fast (3.5 s, 7.2 times before).", False),
        ("Uniform in (3, 7).", False),
    ],
)
def test_bare_sections_are_told_from_versions_and_measurements(text: str, expected: bool) -> None:
    assert bool(bare_sections(text)) is expected


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
    text = page.read_text()
    assert not [name for name in set(MODULE.findall(text)) if find_spec(name) is None]
    assert not [(member, name) for member, name in MEMBER.findall(text) if not defines(name, member)]


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
