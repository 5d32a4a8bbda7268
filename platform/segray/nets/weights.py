"""Reading weights safely: tensors from a path or URI, their hash, and onto a module.

Knows file formats, told by content and never by name, and errors that people can act on. Does not know any model.
Nothing here runs code from a file: pickles are read as plain tensors or refused.
"""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import nn

from segray.errors import BackendError, SourceError, first_line
from segray.storage.local_copies import local_copy, remembered

State = dict[str, torch.Tensor]

_TORCH_MAGIC: Final = (b"PK\x03\x04", b"\x80")
"""A zip, which torch has written since 1.6, or a bare pickle."""


def load_state(location: str) -> State:
    """Return the tensors of a checkpoint on the CPU, in the types they are stored in, mapped where the format allows.

    `location` is a path or URI of a safetensors file, or of a torch file that holds one flat dict of tensors. A remote
    file comes to this machine once (see `segray.storage.local_copies`).

    Raises:
        BackendError: not there, not readable, not such a file, or a pickle with anything but tensors in it.
    """
    path = _fetched(location) if "://" in location else _local(location)
    try:
        state = _load_torch(path) if _head(path).startswith(_TORCH_MAGIC) else safetensors.torch.load_file(path)
    except pickle.UnpicklingError as error:
        raise BackendError(
            f"weights {location!r} are refused: a pickle that is damaged, or holds more than tensors and so could run"
            " code; convert it to safetensors where you trust it"
        ) from error
    except (safetensors.SafetensorError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise BackendError(
            f"weights {location!r} cannot be read: damaged, cut short, or neither a safetensors nor a torch file"
            f" ({first_line(error)[:200]}); fetch the file again"
        ) from error
    return _plain(state, location)


def hash_state(state: Mapping[str, torch.Tensor]) -> str:
    """Hex digest (SHA-256) of names, types, shapes and values; the same for any file format and order of names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def hash_location(location: str, state: Mapping[str, torch.Tensor]) -> str:
    """Return `hash_state` of what `load_state` returned for a location, computed once on this machine for a file.

    Raises:
        BackendError: the file is gone.
    """
    path = _fetched(location) if "://" in location else _local(location)
    return remembered("hash_state 1", [path], lambda _: hash_state(state))


def hash_files(path: Path) -> str | None:
    """Hex digest (SHA-256) of a file, or of all files of a folder with their names; None where there is neither."""
    digest = hashlib.sha256()
    found = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    for one in found:
        with one.open("rb") as file:
            digest.update(f"{one.relative_to(path)} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest() if found else None


def check_fit(module: nn.Module, state: Mapping[str, torch.Tensor], where: str) -> None:
    """Whether the module, which may be on the meta device, has exactly these tensors; `where` says whose they are.

    A batch norm's count of batches may be missing: only training reads it.

    Raises:
        BackendError: names or shapes differ, the first few of each kind given.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    reshaped = [
        f"{name} {tuple(tensor.shape)} for {tuple(own[name].shape)}"
        for name, tensor in state.items()
        if name in own and own[name].shape != tensor.shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    problems = "; ".join(_few(kind, names) for kind, names in kinds.items() if names)
    if problems:
        raise BackendError(
            f"{where} do not fit this architecture: {problems}; give the model that these weights were made for"
        )


def load_into(module: nn.Module, state: Mapping[str, torch.Tensor], where: str) -> None:
    """Copy the tensors into the module, which must have exactly these.

    Raises:
        BackendError: as `check_fit`.
    """
    check_fit(module, state, where)
    module.load_state_dict(dict(state), strict=False)


def _fetched(uri: str) -> Path:
    try:
        return local_copy(uri)
    except SourceError as error:
        raise BackendError(
            f"weights cannot be fetched: {error}; check the address and the credentials, or give the path of a copy"
        ) from error


def _local(location: str) -> Path:
    path = Path(location).expanduser()
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise BackendError(f"weights {location!r}: {what}; give the path or URI of a .safetensors or .pth checkpoint")
    return path


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _load_torch(path: Path) -> Any:
    # What torch wrote before 1.6 cannot be mapped.
    return torch.load(path, map_location="cpu", weights_only=True, mmap=_head(path).startswith(b"PK"))


def _plain(state: Any, location: str) -> State:
    if not isinstance(state, Mapping):
        raise BackendError(f"weights {location!r} hold a {type(state).__name__}; save the model's state_dict instead")
    others = [str(name) for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if others or not state:
        raise BackendError(
            f"weights {location!r} are not one flat dict of tensors ({_few('other entries', others)}); save the model's"
            " state_dict alone, best as safetensors"
        )
    return dict(state)


def _few(kind: str, names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} {kind} ({', '.join(names[:3])}{more})"
