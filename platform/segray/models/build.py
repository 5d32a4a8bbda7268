"""The table of students; how one is built, started from another, and loaded."""

from pathlib import Path
from typing import Any, Final

import torch

from segray import keyed_random
from segray.assets import MASK2FORMER_NANO, TRUNK_NANO
from segray.config import students as config
from segray.config.base import build
from segray.errors import BackendError, ConfigError
from segray.models.deeplab import DeepLabStudent
from segray.models.dpt import DptStudent
from segray.models.fpn import FpnStudent
from segray.models.mask2former import Mask2FormerStudent
from segray.models.package import read_card, read_weights
from segray.models.segformer import SegFormerStudent
from segray.models.student import Student
from segray.nets.weights import hash_files, hash_state, load_into, load_state

STUDENTS: Final[dict[str, Any]] = {
    "mask2former": Mask2FormerStudent,
    "fpn": FpnStudent,
    "deeplab": DeepLabStudent,
    "dpt": DptStudent,
    "segformer": SegFormerStudent,
}
"""Which class makes a config's kind: `class(config, classes, load=whether pretrained weights are fetched)`."""


def build_student(settings: config.StudentConfig, classes: tuple[str, ...], *, seed: int | None) -> Student:
    """A student on the CPU. What it does not load is drawn from `seed`, and the global generator stays as it was.

    Without a seed its weights mean nothing and no pretrained ones are fetched: it waits for a state dict.

    Raises:
        BackendError: a backbone's or the starting student's weights cannot be had, or are of another architecture.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(keyed_random.key(seed or 0, "student"))
        fetch = seed is not None and settings.start is None
        student: Student = STUDENTS[settings.kind](settings, tuple(classes), load=fetch)
    if seed is not None and settings.start is not None:
        _start(student, _start_folder(settings.start))
    return student


def load_student(folder: str, device: str | torch.device = "cpu") -> Student:
    """The student of a package, in eval mode.

    Raises:
        BackendError: no such folder, not a student's, damaged, or of an architecture that this version does not know.
    """
    card = read_card(folder)
    try:
        settings: config.StudentConfig = build(config.StudentConfig, card["student"], f"{folder}: its card")  # type: ignore[arg-type]  # a union
    except ConfigError as error:
        raise BackendError(
            f"{error}\nThis version knows no such student; load it with the version that wrote it, or train it anew"
        ) from error
    student = build_student(settings, tuple(card["classes"]), seed=None)
    load_into(student, read_weights(folder), f"the weights in {folder}")
    return student.to(device).eval()


def start_hash(settings: config.StudentConfig) -> str | None:
    """Hash of the weights that a student starts from, where they lie in files; None where all are drawn.

    Weights from a hub are named by their config (id and revision).

    Raises:
        BackendError: the starting student cannot be read.
    """
    if settings.start is not None:
        return str(read_card(_start_folder(settings.start))["weights_sha256"])
    encoder = getattr(settings, "backbone", settings)
    if isinstance(encoder, config.NanoBackbone):
        return hash_state(load_state(str(TRUNK_NANO))) if encoder.pretrained else None
    weights = getattr(encoder, "weights", None)
    return hash_files(Path(weights).expanduser()) if weights else None


def _start_folder(start: str) -> str:
    return str(MASK2FORMER_NANO) if start == "nano" else start


def _start(student: Student, folder: str) -> None:
    """Take over what fits; only what depends on the classes or the number of queries may differ."""
    ours, theirs = student.state_dict(), read_weights(folder)
    fitting = {name: value for name, value in theirs.items() if name in ours and ours[name].shape == value.shape}
    rest = sorted(ours.keys() - fitting.keys())
    allowed = ("classifier.", "queries_embedder.", "queries_features.")
    wrong = [name for name in rest if not any(part in name for part in allowed)]
    if wrong:
        raise BackendError(
            f"student.start {folder!r} is of another architecture: {len(wrong)} tensors do not fit, such as"
            f" {', '.join(wrong[:3])}; give the widths and layers of its student.json"
        )
    student.load_state_dict({**ours, **{name: value.float() for name, value in fitting.items()}})
