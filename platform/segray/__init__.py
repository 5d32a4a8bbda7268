"""segray: label images with Segment Anything, train a student on the labels, serve it; on one machine or a cluster.

    import segray

    store = segray.label("photos/")
    store.export("coco", "masks.json")

The names below are loaded when they are first used: `import segray` itself needs no torch, no Ray and no NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segray.api import TrainedRun, evaluate, export, label, load_sam, load_student, predict, train
    from segray.masks.instances import Instances
    from segray.store import Store

__version__ = "0.1.0"

_HOMES = {
    "Instances": "segray.masks.instances",
    "Store": "segray.store",
    "TrainedRun": "segray.api",
    "evaluate": "segray.api",
    "export": "segray.api",
    "label": "segray.api",
    "load_sam": "segray.api",
    "load_student": "segray.api",
    "predict": "segray.api",
    "train": "segray.api",
}
"""The module of each name. No package may have such a name: importing it would put it in the function's place."""

__all__ = [
    "Instances",
    "Store",
    "TrainedRun",
    "evaluate",
    "export",
    "label",
    "load_sam",
    "load_student",
    "predict",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'segray' has no attribute {name!r}; it has {', '.join(_HOMES)}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
