"""SAM, SAM-HQ, SAM 2 and 2.1, and SAM 3's tracker, as transformers has them, behind the Sam protocol.

Knows folders and hub ids, image sizes and prompts. What differs between families is in segray.sam.hf_families.
Preprocessing is the checkpoint's own image processor. Only safetensors are read, and no code that comes with a
checkpoint is run.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import huggingface_hub
import numpy as np
import torch
import transformers
from huggingface_hub.errors import HFValidationError, StrictDataclassError
from torch import Tensor
from torch.nn import functional as F

from segray.config.sam import Dtype
from segray.config.sam import HfSam as HfSamConfig
from segray.errors import BackendError
from segray.sam.device import autocast, place
from segray.sam.hf_families import FAMILIES, Family, Features, Heads
from segray.sam.protocol import BOX_UPPER_LEFT, PADDING, Decoded, Embedding, Image, Prompts
from segray.sam.weights import State, hash_state, load_state

_WEIGHTS: Final = "model.safetensors"
_DESCRIPTIONS: Final = ("config.json", "preprocessor_config.json", "processor_config.json")
_INCIDENTAL: Final = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}
"""Entries of a checkpoint's descriptions that change no result."""

_PROMPTS_AT_ONCE: Final = {"cuda": 128, "cpu": 4}
"""On a CPU more image tokens than a few prompts have do not fit its cache."""
_MISFITS: Final = (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError)
"""What building a model raises, depending on which entry of its config is wrong."""


@dataclass(frozen=True, kw_only=True)
class _Handle:
    heads: Heads
    chosen: Tensor
    """(P, M) the mask token of each answer."""


class HfSam:
    """A model of transformers as a `Sam` (segray.sam.protocol). Make one with `build_hf`."""

    mask_threshold = 0.0

    def __init__(
        self, family: Family, processor: Any, *, name: str, weights_hash: str, device: torch.device, dtype: Dtype
    ) -> None:
        self.name = name
        self.weights_hash = weights_hash
        self.device = device
        self.prompts_at_once = _PROMPTS_AT_ONCE[device.type]
        self._family = family
        self._processor = processor
        self._dtype = dtype
        with torch.no_grad():
            self._position = family.model.get_image_wide_positional_embeddings()

    @torch.no_grad()
    def embed(self, images: Sequence[Image]) -> Embedding:
        """As the protocol says."""
        inputs = self._processor(
            images=[self._drawable(image) for image in images],
            input_data_format="channels_last",
            return_tensors="pt",
            device=self.device,
        )
        with autocast(self.device, self._dtype):
            features = self._family.encode(inputs["pixel_values"].to(self.device))
        return Embedding(features=features, sizes_hw=tuple((image.shape[0], image.shape[1]) for image in images))

    @torch.no_grad()
    def decode(self, embedding: Embedding, prompts: Prompts, *, image_tokens: bool = False) -> Decoded:
        """As the protocol says; a prompt's answer does not depend on the others."""
        features: Features = embedding.features
        index = prompts.image_index.to(self.device)
        labels = prompts.labels.to(self.device)
        points = prompts.points_xy.to(self.device) * self._scales(embedding.sizes_hw)[index][:, None]
        parts = self._alike(labels)
        with autocast(self.device, self._dtype):
            done = [self._heads(features, index[rows], points[rows], labels[rows], pad=pad) for rows, pad in parts]
            heads = done[0] if len(done) == 1 else Heads.cat(done)[torch.cat([rows for rows, _ in parts]).argsort()]
            chosen = self._family.choose(heads, multimask=prompts.multimask)
        return Decoded(
            scores=heads.iou.gather(1, chosen),
            prompts=prompts,
            handle=_Handle(heads=heads, chosen=chosen),
            image_tokens=heads.image_tokens if image_tokens else None,
        )

    @torch.no_grad()
    def logits(self, decoded: Decoded, keep: Tensor) -> Tensor:
        """As the protocol says; a prompt of several kept masks is up-scaled once."""
        handle: _Handle = decoded.handle
        keep = keep.to(self.device)
        prompt = keep // handle.chosen.shape[1]
        used, position = torch.unique(prompt, return_inverse=True)
        with autocast(self.device, self._dtype):
            masks = self._family.masks(handle.heads[used])
        return masks[position, handle.chosen.flatten()[keep]].float()

    @torch.no_grad()
    def upscale(self, logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """As the protocol says; bilinear, as the processor's post-processing."""
        if self._family.padded:
            height, width = self._fit(size_hw)
            logits = _resize(logits, (self._processor.pad_size.height, self._processor.pad_size.width))
            logits = logits[:, :height, :width]
        return _resize(logits, size_hw)

    def _heads(self, features: Features, index: Tensor, points: Tensor, labels: Tensor, *, pad: bool) -> Heads:
        if pad:
            points = F.pad(points, (0, 0, 0, 1))
            labels = F.pad(labels, (0, 1), value=PADDING)
        # Half precision would move the points.
        with torch.autocast(self.device.type, enabled=False):
            tokens = self._family.prompt_tokens(points.float(), labels)
        return self._family.heads(features, index, tokens, self._position)

    def _alike(self, labels: Tensor) -> list[tuple[Tensor, bool]]:
        """Rows of prompts that take the not-a-point token and of those that do not, each with whether they do."""
        bare = (labels == BOX_UPPER_LEFT).any(dim=1)
        if self._family.pads_boxes or not bare.any():
            return [(torch.arange(len(labels), device=self.device), True)]
        parts = ((~bare).nonzero()[:, 0], True), (bare.nonzero()[:, 0], False)
        return [(rows, pad) for rows, pad in parts if len(rows)]

    def _scales(self, sizes_hw: Sequence[tuple[int, int]]) -> Tensor:
        """(B, 2) by which x and y of each image go to the input."""
        fits = (self._fit(size) for size in sizes_hw)
        scales = [[fit[1] / size[1], fit[0] / size[0]] for fit, size in zip(fits, sizes_hw, strict=True)]
        return torch.tensor(scales, dtype=torch.float64, device=self.device)

    def _fit(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width that an image takes up in the input."""
        size = self._processor.size
        if not self._family.padded:
            return size.height, size.width
        scale = size.longest_edge / max(size_hw)
        return max(1, int(size_hw[0] * scale + 0.5)), max(1, int(size_hw[1] * scale + 0.5))

    def _drawable(self, image: Image) -> Image:
        """A strip so thin that the processor would make nothing of it, its pixels repeated until one row is left."""
        height, width, _ = image.shape
        least = math.ceil(max(height, width) / (2 * self._processor.size.longest_edge)) if self._family.padded else 1
        rows, columns = (max(side, least) for side in (height, width))
        if (rows, columns) == (height, width):
            return image
        thicker: Image = image[np.arange(rows) * height // rows][:, np.arange(columns) * width // columns]
        return thicker


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


def build_hf(settings: HfSamConfig) -> HfSam:
    """Load a model of transformers from a folder or the hub.

    Raises:
        BackendError: as `open_checkpoint` and `load_checkpoint`, or the wanted device is not there.
    """
    device = place(settings.device, settings.dtype, compiled=settings.compile)
    checkpoint = open_checkpoint(settings)
    model, processor = load_checkpoint(checkpoint)
    model.to(device)
    if settings.compile:
        model.vision_encoder.compile()
        model.mask_decoder.transformer.compile()
    return HfSam(
        checkpoint.family(model),
        processor,
        name=checkpoint.name,
        weights_hash=checkpoint.weights_hash,
        device=device,
        dtype=settings.dtype,
    )


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
        model, report = getattr(transformers, family).from_pretrained(
            checkpoint.folder,
            use_safetensors=True,
            local_files_only=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (*_MISFITS, StrictDataclassError) as error:
        raise BackendError(
            f"model {name!r}: its config and weights do not make a {family} ({_first_line(error)}); fetch it again"
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise BackendError(
            f"model {name!r}: the weights lack {len(missing)} tensors of a {family} ({', '.join(missing[:3])}, ...);"
            " fetch it again, or give the config that these weights go with"
        )
    return model.eval().requires_grad_(False)


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


def _resize(logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
    return F.interpolate(logits[None], size_hw, mode="bilinear", align_corners=False)[0]
