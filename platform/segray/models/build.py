"""Students from settings: built, started from another one, loaded. Knows no one network; settings name theirs."""

from dataclasses import replace
from pkgutil import resolve_name
from typing import Any

import torch

from segray import keyed_random
from segray.assets import MASK2FORMER_NANO
from segray.config.base import build
from segray.config.model_kinds import StudentConfig
from segray.config.students import PackagedStudent, SemanticStudentConfig
from segray.errors import BackendError, ConfigError
from segray.formats.as_label_maps import LabelMapSource
from segray.formats.registry import SourceConfig, open_source
from segray.formats.source import Source
from segray.models.package import read_card, read_weights, require_teacher
from segray.models.promotion import resolve_student
from segray.models.student import Student
from segray.nets.weights import load_into


def network_of(settings: StudentConfig) -> Any:
    """Return the class of a student's network (see `Student`), imported now unless it was before."""
    return resolve_name(settings.network)


def build_student(settings: StudentConfig, classes: tuple[str, ...], *, seed: int | None) -> Student:
    """A student on the CPU. What it does not load is drawn from `seed`, and the global generator stays as it was.

    Without a seed its weights mean nothing and no pretrained ones are fetched: it waits for a state dict.

    Raises:
        BackendError: weights to start from cannot be loaded, or were made for another architecture.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(keyed_random.key(seed or 0, "student"))
        load = seed is not None and settings.start is None
        student: Student = network_of(settings)(settings, tuple(classes), load=load)
    if settings.frozen_encoder:
        for parameter in student.backbone_parameters():
            parameter.requires_grad_(False)
    if seed is not None and settings.start is not None:
        _start(student, _start_folder(settings.start))
    return student


def load_student(folder: str, device: str | torch.device = "cpu") -> Student:
    """The student of a package, in eval mode.

    Raises:
        BackendError: no such folder, not a student's, damaged, or of an architecture that this version does not know.
    """
    student = build_student(read_settings(folder), tuple(read_card(folder)["classes"]), seed=None)
    load_into(student, read_weights(folder), f"the weights in {folder}")
    return student.to(device).eval()


def read_settings(folder: str) -> StudentConfig:
    """Return the settings of a package's student; its weights are not read.

    Raises:
        BackendError: no such folder, not a student's, or of an architecture that this version does not know.
    """
    try:
        return build(StudentConfig, read_card(folder)["student"], f"{folder}: its card")  # type: ignore[arg-type]  # a union
    except ConfigError as error:
        raise BackendError(
            f"{error}\nThis version knows no such student; load it with the version that wrote it, or train it anew"
        ) from error


def package_of(chosen: PackagedStudent) -> str:
    """Return the folder of the student that a config names: by its own folder, a promoted name, or as a teacher.

    Raises:
        BackendError: no teacher is kept beside the student.
        TrainError: nothing was promoted by that name.
    """
    folder = resolve_student(chosen.uri)
    return require_teacher(folder) if chosen.network == "teacher" else folder


def predicting(settings: StudentConfig, chosen: PackagedStudent) -> StudentConfig:
    """Return a student's settings with the `predict` table of the config that names it, where that has one.

    Raises:
        ConfigError: the table is not of such a student.
    """
    if chosen.predict is None:
        return settings
    predict = build(type(settings.predict), chosen.predict, "student.predict")
    return replace(settings, predict=predict)  # type: ignore[arg-type]  # of its own type


def start_hash(settings: StudentConfig) -> str | None:
    """Return the hash of the weights that a student starts from, where they are in files; None where all are random.

    Raises:
        BackendError: the starting student or the pretrained weights cannot be read.
    """
    if settings.start is not None:
        return str(read_card(_start_folder(settings.start))["weights_sha256"])
    found: str | None = network_of(settings).pretrained_hash(settings)
    return found


def _start_folder(start: str) -> str:
    return str(MASK2FORMER_NANO) if start == "nano" else start


def _start(student: Student, folder: str) -> None:
    """Copy the tensors that fit; only those that `Student.adaptable` names may differ."""
    ours, theirs = student.state_dict(), read_weights(folder)
    fitting = {name: value for name, value in theirs.items() if name in ours and ours[name].shape == value.shape}
    rest = sorted(ours.keys() - fitting.keys())
    wrong = [name for name in rest if not any(part in name for part in student.adaptable)]
    if wrong:
        raise BackendError(
            f"student.start {folder!r} has a different architecture: {len(wrong)} tensors do not fit, such as"
            f" {', '.join(wrong[:3])}; give the widths and layers of its student.json"
        )
    student.load_state_dict({**ours, **{name: value.float() for name, value in fitting.items()}})


def open_for(student: StudentConfig, source: SourceConfig) -> Source:
    """Open a source as such a student learns from it: as label maps for semantic students.

    Raises:
        SourceError: it cannot be read.
    """
    opened = open_source(source)
    return (
        LabelMapSource(opened, background=student.background) if isinstance(student, SemanticStudentConfig) else opened
    )
