"""The table of students, and how one is built."""

from typing import Any, Final

import torch

from segray import draws
from segray.config import students as config
from segray.models.mask2former import Mask2FormerStudent
from segray.models.student import Student
from segray.nets.trunk import WEIGHTS
from segray.nets.weights import hash_state, load_state

STUDENTS: Final[dict[str, Any]] = {"mask2former": Mask2FormerStudent}
"""Which class makes a config's kind: `class(config, classes, load=whether pretrained weights are fetched)`."""


def build_student(settings: config.Student, classes: tuple[str, ...], *, seed: int | None) -> Student:
    """A student on the CPU. What it does not load is drawn from `seed`, and the global generator stays as it was.

    Without a seed its weights mean nothing and no pretrained ones are fetched: it waits for a state dict.

    Raises:
        BackendError: a backbone's weights cannot be had, or are of another architecture.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(draws.key(seed or 0, "student"))
        student: Student = STUDENTS[settings.kind](settings, tuple(classes), load=seed is not None)
    return student


def backbone_hash(settings: config.Student) -> str | None:
    """Hash of the pretrained weights that a student starts from, where they ship with segray; else None.

    Other ones are named by their config (path or hub id, and revision).
    """
    backbone = settings.backbone
    if isinstance(backbone, config.NanoBackbone) and backbone.pretrained:
        return hash_state(load_state(str(WEIGHTS)))
    return None
