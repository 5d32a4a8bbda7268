"""The device and precision of a model, checked before anything is loaded. Knows no model."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

import torch

from segray.config.types import Device, Precision
from segray.errors import BackendError, DeviceError, first_line

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


def check_device() -> None:
    """Ask the CUDA device that this process uses for one small result; without CUDA in use there is nothing to ask.

    After some errors (uncorrectable memory, a failed assertion in a kernel, an illegal address) every later call of
    the process fails, whatever it computes. Only a new process can go on.

    Raises:
        DeviceError: the device does not answer.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    try:
        torch.cuda.synchronize()
        torch.ones(1, device="cuda").add_(1).item()
    except torch.OutOfMemoryError:
        return
    except RuntimeError as error:
        raise DeviceError(f"the CUDA device of this process does not answer any more: {first_line(error)}") from error


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
