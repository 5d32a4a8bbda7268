"""The device and precision of a model, checked before anything is loaded. Knows no model."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

import torch

from segray.config.types import Device, Precision
from segray.errors import BackendError

_HALF: Final = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: Device, precision: Precision, *, compiled: bool) -> torch.device:
    """Return the device to run on; `auto` is CUDA where present.

    Raises:
        BackendError: CUDA asked for and absent, or a half type or `torch.compile` without CUDA.
    """
    present = torch.cuda.is_available()
    if device == "cuda" and not present:
        raise BackendError(
            "device 'cuda' is asked for, but torch finds no CUDA here; run where there is a GPU, or set device='auto'"
        )
    if device == "cuda" or (device == "auto" and present):
        return torch.device("cuda")
    if precision in _HALF:
        raise BackendError(f"precision {precision!r} needs CUDA, and this runs on the CPU; set precision='float32'")
    if compiled:
        raise BackendError("compile=true needs CUDA, and this runs on the CPU; set compile=false")
    return torch.device("cpu")


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the context in which a model runs in `precision`; a null context for float32."""
    return torch.autocast(device.type, _HALF[precision]) if precision in _HALF else nullcontext()


@contextmanager
def torch_threads_kept() -> Iterator[None]:
    """Give the process its number of torch threads back at the end, whatever a job set meanwhile."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
