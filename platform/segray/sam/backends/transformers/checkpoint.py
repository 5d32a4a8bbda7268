"""Checkpoints of SAMs as transformers saves them: finding, checking, naming and loading one.

Knows folders, hub ids and the files in them. Only safetensors are read, and no code that comes with a checkpoint is
run. Does not know what a model is used for.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import huggingface_hub
import torch
import transformers
from huggingface_hub.errors import HFValidationError, StrictDataclassError

from segray.config.sam import HfSamConfig
from segray.errors import BackendError
from segray.nets.weights import State, hash_state, load_state
from segray.sam.backends.transformers.families import FAMILIES, Family

_WEIGHTS: Final = "model.safetensors"
_DESCRIPTIONS: Final = ("config.json", "preprocessor_config.json", "processor_config.json")
_INCIDENTAL: Final = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}
"""Entries of a checkpoint's descriptions that change no result."""

_MISFITS: Final = (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError)
"""What building a model raises, depending on which entry of its config is wrong."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model's folder that is known to hold a SAM."""

    name: str
    folder: Path
    family: type[Family]
    weights_hash: str
    """Of the weights and of what config and preprocessing say that changes results."""


def open_checkpoint(settings: HfSamConfig) -> Checkpoint:
    """Find, or fetch, the model and read what it is.

    Raises:
        BackendError: no such model, no way to fetch it, no SAM, or unreadable weights.
    """
    folder = find_folder(settings)
    return Checkpoint(
        name=settings.model if folder != Path(settings.model).expanduser() else folder.resolve().name,
        folder=folder,
        family=_family(folder, settings.model),
        weights_hash=_hash(folder, settings.model),
    )


def load_checkpoint(checkpoint: Checkpoint) -> tuple[Any, Any]:
    """The model, frozen, as float32 on the CPU, and its image processor.

    Raises:
        BackendError: weights and config do not fit, or there is no preprocessing.
    """
    return _load_model(checkpoint), _load_processor(checkpoint)


def find_folder(settings: HfSamConfig) -> Path:
    """The model's folder: the given one, or the hub's, fetched if it is not here yet.

    Raises:
        BackendError: no such folder, no such model on the hub, no access, or no network.
    """
    given = Path(settings.model).expanduser()
    if given.is_dir():
        return given
    if settings.model.count("/") > 1 or settings.model.startswith((".", "/", "~")):
        raise BackendError(f"model {settings.model!r}: no such folder; give a folder with config.json, or a hub id")
    try:
        return Path(
            huggingface_hub.snapshot_download(
                settings.model, revision=settings.revision, allow_patterns=["*.json", "model*.safetensors"]
            )
        )
    except (OSError, HFValidationError) as error:
        raise BackendError(
            f"model {settings.model!r} is no folder here and cannot be fetched from the hub"
            f" ({type(error).__name__}: {_first_line(error)}); check the id, the revision, your access"
            " and the network. Without network: fetch it elsewhere with `hf download`, then give that folder as the"
            " model, or set HF_HOME to a copy of the cache"
        ) from error


def _family(folder: Path, model: str) -> type[Family]:
    kind = _read_json(folder / "config.json", model).get("model_type")
    if kind not in FAMILIES:
        raise BackendError(
            f"model {model!r} is a {kind!r}, which is no promptable SAM; supported model types: {', '.join(FAMILIES)}"
        )
    return FAMILIES[kind]


def _load_model(checkpoint: Checkpoint) -> Any:
    name, family = checkpoint.name, checkpoint.family.model_class
    try:
        with _quiet():
            model, report = getattr(transformers, family).from_pretrained(
                checkpoint.folder,
                use_safetensors=True,
                local_files_only=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                key_mapping=checkpoint.family.renamed,
            )
    except (*_MISFITS, StrictDataclassError) as error:
        raise BackendError(
            f"model {name!r}: its config and weights do not make a {family} ({_first_line(error)}); fetch it again"
        ) from error
    lacking = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if lacking:
        raise BackendError(
            f"model {name!r}: the weights lack {len(lacking)} tensors of its {family}, or have them in another shape"
            f" ({', '.join(lacking[:3])}, ...); fetch it again, or give the config that these weights go with"
        )
    return model.eval().requires_grad_(False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars, and remarks on what is checked here or wanted (video models)."""
    logs: Any = transformers.logging
    verbosity, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(verbosity)
        if bars:
            logs.enable_progress_bar()


def _load_processor(checkpoint: Checkpoint) -> Any:
    processor = getattr(transformers, checkpoint.family.processor_class)
    try:
        return processor.from_pretrained(checkpoint.folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise BackendError(
            f"model {checkpoint.name!r}: no readable preprocessor_config.json, which says how images are resized and"
            " normalised; fetch the model again with all its .json files"
        ) from error


def _hash(folder: Path, model: str) -> str:
    digest = hashlib.sha256(hash_state(_load_states(folder, model)).encode())
    for name in _DESCRIPTIONS:
        if (folder / name).is_file():
            digest.update(json.dumps([name, _essence(_read_json(folder / name, model))], sort_keys=True).encode())
    return digest.hexdigest()


def _load_states(folder: Path, model: str) -> State:
    index = folder / f"{_WEIGHTS}.index.json"
    shards = _read_json(index, model).get("weight_map", {}) if index.is_file() else {}
    names = sorted(set(shards.values())) or [_WEIGHTS]
    lacking = [name for name in names if not (folder / name).is_file()]
    if lacking:
        raise BackendError(
            f"model {model!r}: {folder} holds no {lacking[0]}, and pickled weights are not read; give a model that has"
            " safetensors, or convert it where you trust it (`save_pretrained` writes them)"
        )
    return {key: tensor for name in names for key, tensor in load_state(str(folder / name)).items()}


def _essence(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _essence(inner) for key, inner in value.items() if key not in _INCIDENTAL}
    return value


def _read_json(path: Path, model: str) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BackendError(
            f"model {model!r}: {path.name} is missing or damaged in {path.parent}; give a folder that"
            " `save_pretrained` wrote, or a hub id"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
