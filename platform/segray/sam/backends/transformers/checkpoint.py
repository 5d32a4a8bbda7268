"""Checkpoints of SAMs as transformers saves them: finding, checking, naming and loading one.

Knows folders, hub ids and the files in them. Only safetensors are read, and no code that comes with a checkpoint is
run. Does not know what a model is used for.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import transformers

from segray.config.sam import HfSamConfig
from segray.errors import BackendError
from segray.nets import hub
from segray.nets.weights import State, hash_state, load_state
from segray.sam.backends.transformers.families import FAMILIES, Family
from segray.storage.local_copies import remembered

_FILES: Final = ("*.json", "model*.safetensors")
_WEIGHTS: Final = "model.safetensors"
_DESCRIPTIONS: Final = ("config.json", "preprocessor_config.json", "processor_config.json")


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
    folder = hub.find_folder(settings.model, settings.revision, _FILES)
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


def _family(folder: Path, model: str) -> type[Family]:
    kind = _read_json(folder / "config.json", model).get("model_type")
    if kind not in FAMILIES:
        raise BackendError(
            f"model {model!r} is a {kind!r}, which is no promptable SAM; supported model types: {', '.join(FAMILIES)}"
        )
    return FAMILIES[kind]


def _load_model(checkpoint: Checkpoint) -> Any:
    family = checkpoint.family
    model = hub.load_model(
        getattr(transformers, family.model_class),
        checkpoint.folder,
        what=f"model {checkpoint.name!r} as a {family.model_class}",
        remedy="download it again, or give the config that these weights go with",
        use_safetensors=True,
        local_files_only=True,
        key_mapping=family.renamed,
    )
    return model.eval().requires_grad_(False)


def _load_processor(checkpoint: Checkpoint) -> Any:
    processor = getattr(transformers, checkpoint.family.processor_class)
    remedy = "its preprocessor_config.json says how images are resized and normalised; download all its .json files"
    with hub.loading(f"the image processor of model {checkpoint.name!r}", remedy):
        return processor.from_pretrained(checkpoint.folder, local_files_only=True)


def _hash(folder: Path, model: str) -> str:
    weights = remembered("hash_state 1", _weight_files(folder, model), lambda paths: hash_state(_load_states(paths)))
    digest = hashlib.sha256(weights.encode())
    for name in _DESCRIPTIONS:
        if (folder / name).is_file():
            digest.update(
                json.dumps([name, hub.without_incidentals(_read_json(folder / name, model))], sort_keys=True).encode()
            )
    return digest.hexdigest()


def _weight_files(folder: Path, model: str) -> list[Path]:
    index = folder / f"{_WEIGHTS}.index.json"
    shards = _read_json(index, model).get("weight_map", {}) if index.is_file() else {}
    names = sorted(set(shards.values())) or [_WEIGHTS]
    lacking = [name for name in names if not (folder / name).is_file()]
    if lacking:
        raise BackendError(
            f"model {model!r}: {folder} holds no {lacking[0]}, and pickled weights are not read; give a model that has"
            " safetensors, or convert it where you trust it (`save_pretrained` writes them)"
        )
    return [folder / name for name in names]


def _load_states(paths: Sequence[Path]) -> State:
    return {key: tensor for path in paths for key, tensor in load_state(str(path)).items()}


def _read_json(path: Path, model: str) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BackendError(
            f"model {model!r}: {path.name} is missing or damaged in {path.parent}; give a folder that"
            " `save_pretrained` wrote, or a hub id"
        ) from error
