"""The methods by name: which runs each is made of. A new method is a config class, a module here, and a line below."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from segray.methods.config import TrainConfig
from segray.methods.s4m import objective as s4m
from segray.methods.s4m.config import S4M
from segray.methods.supervised import objective as supervised
from segray.methods.supervised.config import Supervised
from segray.methods.unimatch import objective as unimatch
from segray.methods.unimatch.config import UniMatch
from segray.training.plan import RunPlan

_PLANS: Mapping[type, Callable[[TrainConfig, Any], Sequence[RunPlan]]] = {
    Supervised: supervised.plans,
    S4M: s4m.plans,
    UniMatch: unimatch.plans,
}


def plans(config: TrainConfig) -> Sequence[RunPlan]:
    """The runs of a config's method, in the order in which they are to be done.

    Raises:
        BackendError: weights that the method needs are missing or do not fit.
    """
    return _PLANS[type(config.method)](config, config.method)


__all__ = ["plans"]
