"""`Tally`: what a reading took and what it left out, with reasons and examples, so that nothing is lost silently.

A thing is read, and then either used or left out for a reason. Some reasons are damage (unreadable, unknown or invalid
things), which a bound keeps small. The others are a choice, of the config or of the file, and never stop a job. A note
says something of things that are used all the same. Knows names and counts; knows no sources, formats or files.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import comb
from typing import Any, Final, Self

from segray.errors import DamageError

EXAMPLES: Final = 3
"""Number of examples that are kept of each reason."""
MAX_DAMAGED: Final = 0.05
"""Share of damaged things of a kind with which jobs work, where nothing else is said."""
CHANCE: Final = 0.01
"""Largest probability with which a sample stops what has no more than the allowed damage."""
_SINGULAR: Final = {"have": "has", "are": "is", "lie": "lies"}


@dataclass(frozen=True)
class Reason:
    """Why things are left out, or what is noted of them."""

    name: str
    """Short word by which files and tests know the reason."""
    text: str
    """End of the sentence that begins "12 of 24 annotations"; its verbs are "have", "are" and "lie"."""
    is_damage: bool = False
    """Whether the things are unreadable, unknown or invalid; False where somebody chose to leave them out."""


@dataclass(kw_only=True)
class Count:
    """Things of one reason."""

    reason: Reason
    number: int = 0
    examples: list[str] = field(default_factory=list)
    """Names of the first few, as a person would look for them."""

    def add(self, number: int, examples: Iterable[str]) -> None:
        """Count more things in."""
        self.number += number
        self.examples += [one for one in examples if one and one not in self.examples]
        del self.examples[EXAMPLES:]


@dataclass(kw_only=True)
class KindTally:
    """Counts of one kind of thing."""

    used: int = 0
    left_out: dict[str, Count] = field(default_factory=dict)
    """Things that were read and not used, by the reason's name."""
    notes: dict[str, Count] = field(default_factory=dict)
    """What is noted of used things, by the reason's name."""

    @property
    def read(self) -> int:
        """Return the number of things that were met: those used and those left out."""
        return self.used + sum(one.number for one in self.left_out.values())

    @property
    def damaged(self) -> int:
        """Return the number of things that were left out as damaged."""
        return sum(one.number for one in self.left_out.values() if one.reason.is_damage)


class Tally:
    """Counts of things by kind ("images", "annotations", "files"), always named in the plural.

    Example:
        >>> tally = Tally()
        >>> tally.use("annotations", 12)
        >>> tally.leave_out("annotations", CROWD, "annotation 7 of 'a.png'")
        >>> tally.check(0.05)
        >>> print(*tally.lines(), sep="\\n")
    """

    def __init__(self) -> None:
        self.kinds: dict[str, KindTally] = {}
        self._met: set[str] = set()

    def __getitem__(self, kind: str) -> KindTally:
        """Return the counts of a kind, which are zero where nothing of it was met."""
        return self.kinds.get(kind, KindTally())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and self.kinds == other.kinds

    __hash__ = None  # type: ignore[assignment]  # it changes

    def once(self, key: str) -> "Tally":
        """Return this tally the first time that a key is given, and then one that nobody reads.

        So a source whose images may be asked for again counts each of them once.
        """
        if key in self._met:
            return Tally()
        self._met.add(key)
        return self

    def restart(self, kind: str) -> None:
        """Forget the counts of a kind, because its things are gone through from the beginning."""
        self.kinds.pop(kind, None)

    def use(self, kind: str, number: int = 1) -> None:
        """Count things that were read and are used."""
        if number:
            self._kind(kind).used += number

    def leave_out(self, kind: str, reason: Reason, example: str = "", number: int = 1) -> None:
        """Count things that were read and are not used."""
        _count(self._kind(kind).left_out, reason, number, [example])

    def note(self, kind: str, reason: Reason, example: str = "", number: int = 1) -> None:
        """Count things that are used and of which something is to be said."""
        _count(self._kind(kind).notes, reason, number, [example])

    def merge(self, other: "Tally") -> None:
        """Add the counts of another reading, such as another worker's."""
        for kind, theirs in other.kinds.items():
            self.use(kind, theirs.used)
            mine = self._kind(kind)
            for into, counts in ((mine.left_out, theirs.left_out), (mine.notes, theirs.notes)):
                for one in counts.values():
                    _count(into, one.reason, one.number, one.examples)

    @classmethod
    def merged(cls, tallies: Iterable["Tally"]) -> Self:
        """Return the sum of several tallies."""
        whole = cls()
        for one in tallies:
            whole.merge(one)
        return whole

    def check(self, bound: float, where: str = "") -> None:
        """See that of each kind no larger share is damaged than `bound`, from 0 to 1; `where` begins the message.

        Raises:
            DamageError: more is damaged; the message says of each reason how much, with examples.
        """
        broken = {kind: one for kind, one in self.kinds.items() if one.damaged > bound * one.read}
        if not broken:
            return
        told = (f"{one.damaged} of {one.read} {kind} ({one.damaged / one.read:.1%})" for kind, one in broken.items())
        message = (
            f"{where}{': ' if where else ''}{', '.join(told)} cannot be used, and max_damaged allows {bound:.1%}: mend"
            " them, take them out of the source, or raise max_damaged"
        )
        raise DamageError("\n".join([message, *(line for kind in broken for line in _damage_lines(kind, self[kind]))]))

    def check_sample(self, bound: float, where: str = "") -> None:
        """See that things drawn at random do not show that of all things surely more are damaged than `bound`.

        Raises:
            DamageError: a share of `bound` would show so many with less than `CHANCE`; as of `check`.
        """
        if any(_is_surely_above(one.damaged, one.read, bound) for one in self.kinds.values()):
            self.check(bound, where)

    def lines(self) -> list[str]:
        """Return what was read, used and left out, as lines for people."""
        return [line for kind, one in self.kinds.items() for line in _kind_lines(kind, one)]

    def to_json(self) -> dict[str, Any]:
        """Return the counts by kind, for a file."""
        return {
            kind: {
                "read": one.read,
                "used": one.used,
                "left_out": [_plain(count) for count in one.left_out.values()],
                "notes": [_plain(count) for count in one.notes.values()],
            }
            for kind, one in self.kinds.items()
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the tally that `to_json` made plain."""
        tally = cls()
        for kind, one in content.items():
            tally.kinds[kind] = KindTally(
                used=one["used"], left_out=_counts(one["left_out"]), notes=_counts(one["notes"])
            )
        return tally

    def _kind(self, kind: str) -> KindTally:
        return self.kinds.setdefault(kind, KindTally())


def _is_surely_above(damaged: int, number: int, bound: float) -> bool:
    terms = (comb(number, k) * bound**k * (1 - bound) ** (number - k) for k in range(damaged, number + 1))
    return damaged > 0 and sum(terms) < CHANCE


def _count(counts: dict[str, Count], reason: Reason, number: int, examples: Iterable[str]) -> None:
    if number:
        counts.setdefault(reason.name, Count(reason=reason)).add(number, examples)


def _plain(count: Count) -> dict[str, Any]:
    return {**asdict(count.reason), "number": count.number, "examples": list(count.examples)}


def _counts(content: Iterable[Mapping[str, Any]]) -> dict[str, Count]:
    return {
        one["name"]: Count(
            reason=Reason(one["name"], one["text"], one["is_damage"]),
            number=one["number"],
            examples=list(one["examples"]),
        )
        for one in content
    }


def _kind_lines(kind: str, one: KindTally) -> Iterator[str]:
    used = "all used" if one.used == one.read else f"{one.used} used"
    yield f"{one.read} {kind if one.read != 1 else _singular(kind)} read, {used}"
    for count in (*one.left_out.values(), *one.notes.values()):
        yield from _count_lines(count, kind, one.read)


def _damage_lines(kind: str, one: KindTally) -> Iterator[str]:
    for count in one.left_out.values():
        if count.reason.is_damage:
            yield from _count_lines(count, kind, one.read)


def _count_lines(count: Count, kind: str, read: int) -> Iterator[str]:
    text = count.reason.text
    if count.number == 1:
        text = re.sub(rf"\b({'|'.join(_SINGULAR)})\b", lambda found: _SINGULAR[found[0]], text)
    yield f"  {count.number} of {read} {kind} {text}"
    if count.examples:
        more = ", ..." if count.number > len(count.examples) else ""
        yield f"    {', '.join(count.examples)}{more}"


def _singular(kind: str) -> str:
    return kind.removesuffix("es") if kind.endswith("sses") else kind.removesuffix("s")
