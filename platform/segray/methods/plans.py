"""The methods by name: which runs each is made of. A new method is a config class, a module here, and a line below."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from segray.config.train import TrainConfig
from segray.methods.config import S4M, Supervised, UniMatch
from segray.methods.s4m import objective as s4m
from segray.methods.supervised import objective as supervised
from segray.methods.unimatch import objective as unimatch
from segray.training.plan import RunPlan

_PLANS: Mapping[type, Callable[[TrainConfig, Any], Sequence[RunPlan]]] = {
    Supervised: supervised.plans,
    S4M: s4m.plans,
    UniMatch: unimatch.plans,
}


def plans(config: TrainConfig) -> Sequence[RunPlan]:
    """The runs of a config's recipe, in the order in which they are to be done.

    Raises:
        BackendError: weights that the recipe needs are missing or do not fit.
    """
    return _PLANS[type(config.recipe)](config, config.recipe)


__all__ = ["plans"]
