"""Checkpoints: what a run needs to go on as if it had never stopped.

That is weights, optimizer and the step: every random draw is keyed by the step, so there is no state of generators or
samplers. A checkpoint counts once its `state.json` is there, which is written last. Knows nothing of methods.
"""

import io
import json
import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from segray.errors import SourceError, TrainError
from segray.storage import files

log = logging.getLogger(__name__)

FOLDER, STATE, OPTIMIZER = "checkpoints", "state.json", "optimizer.pt"
KEEP = 2
"""Checkpoints that stay: should the newest be damaged, the one before is there."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A whole checkpoint."""

    uri: str
    step: int
    """Updates done."""
    seconds: float
    """Training time so far, over all sittings."""
    best: Mapping[str, float] | None
    """Metrics of the best evaluation so far."""
    measured: str
    """What `best` was measured on."""


def save(
    run: str,
    *,
    step: int,
    seconds: float,
    best: Mapping[str, float] | None,
    measured: str,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write a checkpoint into the run's folder, and let older ones go.

    Raises:
        SourceError: the folder cannot be written; older checkpoints are untouched.
    """
    folder = files.join(run, FOLDER, f"step-{step:08d}")
    for name, module in modules.items():
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in module.state_dict().items()}
        files.write_bytes_atomic(files.join(folder, f"{name}.safetensors"), save_tensors(tensors))
    stream = io.BytesIO()
    torch.save(optimizer.state_dict(), stream)
    files.write_bytes_atomic(files.join(folder, OPTIMIZER), stream.getvalue())
    state = {"step": step, "seconds": seconds, "best": best, "measured": measured, "modules": sorted(modules)}
    files.write_bytes_atomic(files.join(folder, STATE), json.dumps(state).encode())
    for old in find(run)[KEEP:]:
        _remove(old.uri)


def find(run: str) -> list[Checkpoint]:
    """The run's whole checkpoints, newest first; those whose state cannot be read are passed over.

    Raises:
        TrainError: none of them can be read.
    """
    folder = files.join(run, FOLDER)
    if not files.exists(folder):
        return []
    found, damaged = [], []
    for entry in files.list_files(folder, (STATE,)):
        try:
            found.append(_read(entry.uri))
        except (ValueError, KeyError, TypeError) as error:
            damaged.append(f"{entry.uri} is damaged ({error!r})")
    for problem in damaged:
        log.warning("a checkpoint is passed over: %s", problem)
    if damaged and not found:
        raise TrainError(f"{damaged[0]}; start over with --fresh")
    return sorted(found, key=lambda saved: -saved.step)


def load(
    saved: Checkpoint, *, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, device: torch.device
) -> None:
    """Put a checkpoint's weights where they belong.

    Raises:
        TrainError: it is damaged, holds other modules, or weights of another architecture.
    """
    for name, module in modules.items():
        try:
            tensors = load_tensors(files.read_bytes(files.join(saved.uri, f"{name}.safetensors")))
            module.load_state_dict(tensors)
        except (SourceError, SafetensorError, RuntimeError) as error:
            raise _unfit(saved, name, error) from error
    try:
        data = io.BytesIO(files.read_bytes(files.join(saved.uri, OPTIMIZER)))
        optimizer.load_state_dict(torch.load(data, device, weights_only=True))
    except (SourceError, OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise _unfit(saved, "optimizer", error) from error


def _unfit(saved: Checkpoint, name: str, error: Exception) -> TrainError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return TrainError(f"{saved.uri}: {name} does not fit ({reason}); start over with --fresh")


def _read(uri: str) -> Checkpoint:
    state = json.loads(files.read_bytes(uri))
    return Checkpoint(
        uri=files.parent(uri),
        step=state["step"],
        seconds=state["seconds"],
        best=state["best"],
        measured=state.get("measured", ""),
    )


def _remove(uri: str) -> None:
    """The state first: what is half removed must not count."""
    system, path = files.filesystem(uri)
    system.delete_file(f"{path}/{STATE}")
    system.delete_dir(path)
