"""CLIP through transformers, as `Evidence`: GEM's dense features and the text encoder.

Knows checkpoints (a folder or hub id, safetensors only, no code that comes with one is run), preprocessing and the
tokenizer. Images are resized to a square, whatever their aspect, so that the map's grid spans the whole image.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from torch.nn import functional as F

from segray.config.evidence import HfClipConfig
from segray.errors import BackendError
from segray.evidence import gem
from segray.evidence.protocol import Image
from segray.nets import hub
from segray.nets.weights import hash_state


class Clip:
    """A CLIP model, frozen (see `Evidence`)."""

    def __init__(self, config: HfClipConfig, device: torch.device) -> None:
        """Load it.

        Raises:
            BackendError: no such model, no CLIP, weights that do not fit, or a side that its patches do not divide.
        """
        model, self._tokenizer, self._mean, self._std = load(config)
        self.name = config.model
        self.weights_hash = _hash(model, self._tokenizer, (*self._mean, *self._std))
        self.device = device
        self._side = config.side
        patch = model.config.vision_config.patch_size
        if config.side % patch:
            raise BackendError(f"evidence.side {config.side} must be a multiple of this CLIP's patch of {patch} pixels")
        self._grid = config.side // patch
        self._model = model.to(device)

    @torch.no_grad()
    def dense(self, images: Sequence[Image]) -> list[torch.Tensor]:
        """See `Evidence`."""
        pixels = torch.cat([self._prepare(image) for image in images])
        tokens = self._model.visual_projection(gem.tokens(self._model.vision_model, pixels))
        maps = F.normalize(tokens.float(), dim=-1).reshape(len(images), self._grid, self._grid, -1)
        return list(maps.cpu())

    @torch.no_grad()
    def texts(self, prompts: Sequence[str]) -> torch.Tensor:
        """See `Evidence`; CLIP knows all words, and of a text no more than its context holds."""
        longest = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(
            list(prompts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
        ).to(self.device)
        output = self._model.get_text_features(**tokens)
        return F.normalize(output.pooler_output.float(), dim=-1).cpu()

    def _prepare(self, image: Image) -> torch.Tensor:
        """(1, 3, side, side), normalised."""
        pixels = torch.tensor(image).to(self.device).permute(2, 0, 1)[None].float()
        size = (self._side, self._side)
        resized = F.interpolate(pixels, size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 255) / 255
        mean, std = (torch.tensor(one, device=self.device)[:, None, None] for one in (self._mean, self._std))
        return (resized - mean) / std


def load(config: HfClipConfig) -> tuple[Any, Any, list[float], list[float]]:
    """The model, frozen, float32 on the CPU; its tokenizer; mean and deviation of its pixels.

    Raises:
        BackendError: no such model, no CLIP, or weights that do not fit.
    """
    revision, what = config.revision or "main", f"CLIP model {config.model!r}"
    remedy = (
        "give a folder that `save_pretrained` wrote, with safetensors, tokenizer and preprocessor_config.json, or the"
        " id of a Hub model that you can access"
    )
    with hub.loading(what, remedy):
        kind = transformers.AutoConfig.from_pretrained(config.model, revision=revision).model_type
        if kind != "clip":
            raise BackendError(f"model {config.model!r} is a {kind!r}; only CLIP models have the dense features needed")
        tokenizer = transformers.CLIPTokenizer.from_pretrained(config.model, revision=revision)
        preparation, _ = transformers.CLIPImageProcessor.get_image_processor_dict(config.model, revision=revision)
    model = hub.load_model(
        transformers.CLIPModel, config.model, what=what, remedy=remedy, revision=revision, use_safetensors=True
    )
    model = model.eval().requires_grad_(False)
    return model, tokenizer, list(preparation["image_mean"]), list(preparation["image_std"])


def _hash(model: Any, tokenizer: Any, pixels: Sequence[float]) -> str:
    """Of all that decides a result: weights, what the config says of them, words, and how pixels are normalised."""
    about = [hub.without_incidentals(model.config.to_diff_dict()), sorted(tokenizer.get_vocab().items()), list(pixels)]
    digest = hashlib.sha256(hash_state(model.state_dict()).encode())
    digest.update(json.dumps(about, sort_keys=True, default=str).encode())
    return digest.hexdigest()
