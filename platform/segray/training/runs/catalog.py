"""Lineage: which runs there are, what made each of them, how two differ, and which of their students may have a name.

Reads the folders that runs leave (`training.runs.folder`) and promotes their students (`models.promotion`).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from segray.config.types import NetworkName
from segray.errors import TrainError
from segray.models.promotion import Promotion, Which, promotions, record, require_name, standing
from segray.storage import files
from segray.training.runs.folder import RUN, RunFolder

_CARD = "student.json"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as its folder tells it."""

    folder: RunFolder
    record: Mapping[str, Any]
    """run.json: method, run, fingerprint, content, config, created, parents, data, classes."""
    end: Mapping[str, Any] | None
    """finished.json: step, seconds, best, last; None while it is not finished."""

    @property
    def name(self) -> str:
        """Its folder's."""
        return self.folder.name

    @property
    def network(self) -> NetworkName:
        """The network whose figure decided which step is best."""
        found: NetworkName = (self.end or {}).get("network", "student")
        return found

    @property
    def figures(self) -> dict[str, float]:
        """The last figures as `last.<name>`, the best ones as `best.<name>`; empty while it is not finished."""
        ends = ((which, (self.end or {}).get(which) or {}) for which in ("best", "last"))
        return {f"{which}.{name}": value for which, figures in ends for name, value in figures.items()}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A place where two runs differ; None where one has nothing there."""

    path: str
    """Dotted."""
    first: Any
    second: Any


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs side by side."""

    first: Run
    second: Run
    content: tuple[Difference, ...]
    """What decides the result and is not the same."""
    figures: tuple[Difference, ...]
    """All figures of both, the same ones too."""


def list_runs(runs: str) -> list[Run]:
    """All runs of a folder, oldest first."""
    names = (name for name in files.list_folders(runs) if files.exists(files.join(runs, name, RUN)))
    return sorted((_read(runs, name) for name in names), key=lambda run: (str(run.record.get("created")), run.name))


def show_run(runs: str, name: str) -> Run:
    """The run of that name, or the one whose name begins or ends with it.

    Raises:
        TrainError: none, or several.
    """
    known = [one for one in files.list_folders(runs) if files.exists(files.join(runs, one, RUN))]
    found = [name] if name in known else [one for one in known if name and one.startswith(name) | one.endswith(name)]
    if len(found) != 1:
        what = (
            f"{len(found)} runs are called so: {', '.join(found)}"
            if found
            else f"there is no such run; there are {', '.join(known) or 'none'}"
        )
        raise TrainError(f"{runs}: {name!r}: {what}")
    return _read(runs, found[0])


def ancestors(runs: str, run: Run) -> list[Run]:
    """The runs that it builds on, and those that they do, nearest first; those that are gone are left out."""
    found: list[Run] = []
    waiting = list(run.record.get("parents", {}).values())
    while waiting:
        name = waiting.pop(0)
        if files.exists(files.join(runs, name, RUN)) and name not in [one.name for one in found]:
            found.append(_read(runs, name))
            waiting += found[-1].record.get("parents", {}).values()
    return found


def compare_runs(runs: str, first: str, second: str) -> Comparison:
    """How two runs differ, in what went in and in what came out.

    Raises:
        TrainError: a name is not that of one run.
    """
    one, other = show_run(runs, first), show_run(runs, second)
    inputs = _side_by_side(dict(leaves(one.record.get("content", {}))), dict(leaves(other.record.get("content", {}))))
    return Comparison(
        first=one,
        second=other,
        content=tuple(difference for difference in inputs if difference.first != difference.second),
        figures=_side_by_side(one.figures, other.figures),
    )


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Scalars of nested mappings and lists by dotted path."""
    if isinstance(value, Mapping):
        children = [(str(key), child) for key, child in value.items()]
    elif isinstance(value, list | tuple):
        children = [(str(index), child) for index, child in enumerate(value)]
    else:
        yield path, value
        return
    for key, child in children:
        yield from leaves(child, f"{path}.{key}" if path else key)


def promote(
    runs: str,
    run: str,
    name: str,
    which: Which = "best",
    *,
    network: NetworkName | None = None,
    force: bool = False,
) -> Promotion:
    """Let `name` stand for a run's student, or its teacher, from now on.

    Args:
        runs: the folder of runs.
        run: its name, see `show_run`.
        name: letters, digits, `.`, `_` and `-`.
        which: of its students.
        network: the student, or the teacher beside it; none: the one that decided which step is best.
        force: a run that is not finished, too.

    Raises:
        TrainError: a name that cannot be one, no such run, one that is not finished, or one without that student.
    """
    require_name(name)
    chosen = show_run(runs, run)
    if chosen.end is None and not force:
        raise TrainError(f"run {chosen.name} is not finished: let it end, or promote it all the same with --force")
    network = network or chosen.network
    _require_student(chosen.folder, which, network)
    return record(runs, name, {"action": "promote", "run": chosen.name, "which": which, "network": network})


def rollback(runs: str, name: str) -> Promotion:
    """Let `name` stand for what it stood for before.

    Raises:
        TrainError: no such name, nothing before, or a student that is gone.
    """
    stood_for = standing(runs, name)
    if len(stood_for) < 2:
        raise TrainError(f"{name!r} has stood for {stood_for[-1]['run']} only: there is nothing to roll back to")
    before = stood_for[-2]
    network = before.get("network", "student")
    _require_student(RunFolder(runs=runs, name=before["run"]), before["which"], network)
    return record(
        runs, name, {"action": "rollback", "run": before["run"], "which": before["which"], "network": network}
    )


def refuse_promoted(folder: RunFolder) -> None:
    """See that no name stands for a student of the run, before it is removed.

    Raises:
        TrainError: one does.
    """
    names = [one.name for one in promotions(folder.runs) if one.run == folder.name]
    if names:
        raise TrainError(
            f"{folder.uri}: {', '.join(names)} stands for a student of this run, which is not removed; roll the name"
            " back or promote another student first"
        )


def _read(runs: str, name: str) -> Run:
    folder = RunFolder(runs=runs, name=name)
    record = json.loads(files.read_bytes(files.join(folder.uri, RUN)))
    return Run(folder=folder, record=record, end=folder.finished)


def _side_by_side(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Difference, ...]:
    paths = [*first, *(path for path in second if path not in first)]
    return tuple(Difference(path=path, first=first.get(path), second=second.get(path)) for path in paths)


def _require_student(folder: RunFolder, which: Which, network: NetworkName) -> None:
    if network == "teacher" and not files.exists(files.join(folder.student(which, network), _CARD)):
        raise TrainError(
            f"run {folder.name} keeps no teacher in {folder.student(which, network)}: its method has none to its end;"
            " promote the student"
        )
    if not files.exists(files.join(folder.student(which), _CARD)):
        remedy = "take its last one" if which == "best" else "train it to its end"
        raise TrainError(f"run {folder.name} has no student {which!r} in {folder.student(which)}: {remedy}")
