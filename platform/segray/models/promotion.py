"""Promoted names: `promoted/<name>.json` in a folder of runs says whose student a name stands for, now and before.

What serves or measures a student accepts the name in place of the student's folder. Knows files and names; which runs
there are, and which of them may be promoted, is known by `training.runs.catalog`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from segray.config.types import NetworkName
from segray.errors import TrainError
from segray.models.package import teacher_beside
from segray.storage import files

Which = Literal["best", "last"]
"""The student of the best evaluation, or the one at the end."""

_PROMOTED = "promoted"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What a name stands for."""

    name: str
    run: str
    which: Which
    network: NetworkName
    """The student, or the teacher beside it."""
    time: str
    """When it was promoted, ISO 8601."""
    student: str
    """The student package's folder."""


def current_promotion(runs: str, name: str) -> Promotion:
    """Return what a name stands for now.

    Raises:
        TrainError: no such name.
    """
    now = standing(runs, name)[-1]
    folder = files.join(runs, now["run"], now["which"])
    network: NetworkName = now.get("network", "student")
    student = folder if network == "student" else teacher_beside(folder)
    return Promotion(name=name, run=now["run"], which=now["which"], network=network, time=now["time"], student=student)


def resolve_student(uri: str) -> str:
    """Return a student's folder: `uri` itself, or where it is a `promoted/<name>.json`, what the name stands for now.

    Raises:
        TrainError: no such name.
    """
    name = files.name(uri)
    if not name.endswith(".json"):
        return uri
    return current_promotion(files.parent(files.parent(files.absolute(uri))), name.removesuffix(".json")).student


def promotions(runs: str) -> list[Promotion]:
    """Return all names, sorted."""
    folder = files.join(runs, _PROMOTED)
    if not files.exists(folder):
        return []
    names = sorted(one.path.removesuffix(".json") for one in files.list_files(folder, (".json",)))
    return [current_promotion(runs, name) for name in names]


def record(runs: str, name: str, event: Mapping[str, str]) -> Promotion:
    """Append an event to a name's log, which begins with it if there is none yet."""
    uri = files.join(runs, _PROMOTED, f"{name}.json")
    log = _log(runs, name) if files.exists(uri) else []
    log.append({**event, "time": datetime.now(UTC).isoformat(timespec="seconds")})
    files.write_bytes_atomic(uri, json.dumps({"name": name, "log": log}, indent=1).encode())
    return current_promotion(runs, name)


def require_name(name: str) -> None:
    """Check that a name can be one.

    Raises:
        TrainError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise TrainError(f"{name!r} cannot be a name: use letters, digits, '.', '_' and '-'")


def standing(runs: str, name: str) -> list[dict[str, Any]]:
    """Return the promotions that still count, the last one being what the name stands for.

    Raises:
        TrainError: no such name.
    """
    found: list[dict[str, Any]] = []
    for event in _log(runs, name):
        if event["action"] == "promote":
            found.append(event)
        else:
            found.pop()
    assert found, f"{name} was rolled back more often than promoted"
    return found


def _log(runs: str, name: str) -> list[dict[str, Any]]:
    """Return all that happened to a name, oldest first."""
    uri = files.join(runs, _PROMOTED, f"{name}.json")
    if not _NAME.fullmatch(name) or not files.exists(uri):
        known = ", ".join(one.name for one in promotions(runs)) or "none"
        raise TrainError(f"{runs}: nothing was promoted as {name!r}; names are {known}")
    return list(json.loads(files.read_bytes(uri))["log"])
