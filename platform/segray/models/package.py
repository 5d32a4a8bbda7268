"""A student as a folder that says what it is: `student.json` and `student.safetensors`.

Enough to evaluate and serve it anywhere segray is: no training state, no pretrained weights. Knows nothing of runs.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import safetensors.torch
import torch

from segray.config.base import plain
from segray.errors import BackendError, SourceError
from segray.models.student import Student
from segray.storage import files
from segray.storage.local_copies import file_sha256, local_copy

FORMAT: Final = 1
"""Of `student.json`; raised when its meaning changes."""
_TEACHER: Final = "teacher"
_CARD: Final = "student.json"
_WEIGHTS: Final = "student.safetensors"


def save_student(student: Student, folder: str, *, info: Mapping[str, Any]) -> None:
    """Write the folder, a path or URI. The card comes last and names the weights' hash: a torn folder does not load.

    `info` is kept as it is given (what trained it: fingerprint, step, scores); scalars, lists and mappings.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in student.state_dict().items()}
    weights = safetensors.torch.save(state)
    card = {
        "format": FORMAT,
        "student": plain(student.settings),
        "classes": list(student.classes),
        "preprocessing": dict(student.preprocessing),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "info": dict(info),
    }
    files.write_bytes_atomic(files.join(folder, _WEIGHTS), weights)
    files.write_bytes_atomic(files.join(folder, _CARD), json.dumps(card, indent=2, allow_nan=False).encode())


def teacher_beside(folder: str) -> str:
    """Return the folder of the teacher that is kept beside a student: a package like the student's, inside its own."""
    return folder if files.name(folder) == _TEACHER else files.join(folder, _TEACHER)


def require_teacher(folder: str) -> str:
    """Return the folder of the teacher beside a student.

    Raises:
        BackendError: none is kept there.
    """
    teacher = teacher_beside(folder)
    if not files.exists(files.join(teacher, _CARD)):
        raise BackendError(
            f"{folder}: no teacher is kept beside this student; runs keep one if their method has one to its end (S4M,"
            " UniMatch V2)"
        )
    return teacher


def read_weights(folder: str) -> dict[str, torch.Tensor]:
    """The weights of a folder, as its card describes them.

    Raises:
        BackendError: not there, or damaged.
    """
    expected, uri = str(read_card(folder)["weights_sha256"]), files.join(folder, _WEIGHTS)
    try:
        path = local_copy(uri, sha256=expected)
        intact = file_sha256(path) == expected
    except (SourceError, OSError) as error:
        raise _unreadable(folder, _WEIGHTS, error) from error
    if not intact:
        raise BackendError(f"{folder}: {_WEIGHTS} is damaged or not the one that {_CARD} describes; copy it again")
    try:
        return dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise BackendError(f"{folder}: {_WEIGHTS} holds no tensors ({error}); copy the student anew") from error


def read_card(folder: str) -> dict[str, Any]:
    """What `student.json` says: format, student, classes, preprocessing, weights_sha256, info.

    Raises:
        BackendError: not there, not readable, or of another format.
    """
    try:
        card = json.loads(_read(folder, _CARD))
    except (ValueError, RecursionError) as error:
        raise BackendError(f"{folder}: {_CARD} is damaged ({error}); copy the student anew") from error
    given = card.get("format") if isinstance(card, dict) else None
    if given != FORMAT:
        raise BackendError(
            f"{folder}: {_CARD} has format {given!r}, this version reads {FORMAT}; load it with the version that wrote "
            "it, or train it anew"
        )
    missing = [key for key in ("student", "classes", "weights_sha256") if key not in card]
    if missing:
        raise BackendError(f"{folder}: {_CARD} lacks {', '.join(missing)}; copy the student anew")
    classes = card["classes"]
    known = {
        "student": isinstance(card["student"], dict),
        "classes": isinstance(classes, list) and all(isinstance(name, str) for name in classes),
        "weights_sha256": isinstance(card["weights_sha256"], str),
        "info": isinstance(card.get("info", {}), dict),
    }
    if strange := [key for key, is_right in known.items() if not is_right]:
        raise BackendError(f"{folder}: {_CARD} has another kind of {', '.join(strange)}; copy the student anew")
    return dict(card)


def _read(folder: str, name: str) -> bytes:
    try:
        return files.read_bytes(files.join(folder, name))
    except SourceError as error:
        raise _unreadable(folder, name, error) from error


def _unreadable(folder: str, name: str, error: Exception) -> BackendError:
    return BackendError(
        f"{folder} is no student: {name} cannot be read ({error}); give the folder `best` or `last` of "
        "a run, as `segray train` leaves them"
    )
