"""The training methods: each is a folder here with `config.py` and `objective.py`, and one line of `METHODS`.

From the table derive the `method` tables of a train config, the runs of a training, and tests of all methods. Imports
no torch: an objective is imported when its runs are planned. SEPL has no training of its own: it is two label stages
(`segray.job_configs`) and then supervised training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Final

from segray.config.schedule import BatchSizes

if TYPE_CHECKING:
    from segray.methods.config import TrainConfig
    from segray.training.plan import RunPlan

METHODS: Final = {
    "supervised": "Supervised",
    "s4m": "S4M",
    "unimatch": "UniMatch",
}
"""The class of a method's settings in the `config.py` of its folder, by the folder's name, which is its `kind`."""


class Method(ABC):
    """The settings of a method, as the train job sees them."""

    trains: ClassVar[tuple[type, ...]]
    """Kinds of students that the method can train."""
    kind: str
    """The method's name in a config file."""

    @property
    def keeps_teacher(self) -> bool:
        """Whether the last run ends with a teacher that follows the student (docs/methods/README.md#teachers)."""
        return False

    @abstractmethod
    def batches(self) -> Sequence[BatchSizes]:
        """Return the batches of each run, which must come out even on any number of workers."""


def settings_class(name: str) -> type[Method]:
    """Return the class of a method's settings."""
    found: type[Method] = getattr(import_module(f"{__name__}.{name}.config"), METHODS[name])
    return found


def plans(config: TrainConfig) -> Sequence[RunPlan]:
    """Return the runs of a config's method, in the order in which they are to be done.

    Raises:
        BackendError: weights that the method needs are missing or do not fit.
    """
    found: Sequence[RunPlan] = import_module(f"{__name__}.{config.method.kind}.objective").plans(config, config.method)
    return found
