"""clip-nano, as `Evidence`: the nano trunk with a fine map, and a text encoder of few words.

Knows the architecture and its vocabulary, which lies in the weights' file. Does not know how it was trained
(tools.nano.train_clip). Words it does not know say nothing, so that "a photo of a fish." is "fish".
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from segray.assets import CLIP_NANO
from segray.config.evidence import NanoClipConfig
from segray.errors import BackendError
from segray.evidence.encoders import normalised
from segray.evidence.protocol import Image
from segray.nets.trunk import CHANNELS, Trunk, conv_norm_act
from segray.nets.weights import hash_state, load_into, load_state

SIDE: Final = 128
"""Images are resized to a square of this side, pixels."""
WIDTH: Final = 96
DIMENSION: Final = 64
_WORDS: Final = "words"


class NanoClip(nn.Module):
    """Both encoders. `words` are all that the text encoder knows."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self.words = tuple(words)
        self._index = {word: number for number, word in enumerate(self.words)}
        self.trunk = Trunk()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, WIDTH, 1) for channels in CHANNELS)
        self.fuse = nn.Sequential(*conv_norm_act(WIDTH, WIDTH))
        self.project = nn.Conv2d(WIDTH, DIMENSION, 1)
        self.embedding = nn.Embedding(len(self.words), DIMENSION)
        self.mix = nn.Sequential(
            nn.LayerNorm(DIMENSION), nn.Linear(DIMENSION, 4 * DIMENSION), nn.GELU(), nn.Linear(4 * DIMENSION, DIMENSION)
        )
        self.to(memory_format=torch.channels_last)

    def image_map(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) to unit vectors (B, DIMENSION, S / 4, S / 4)."""
        pyramid = self.trunk.pyramid(images)
        fine = self.lateral[0](pyramid[0])
        for lateral, level in zip(list(self.lateral)[1:], pyramid[1:], strict=True):
            fine = fine + F.interpolate(lateral(level), size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return F.normalize(self.project(self.fuse(fine)), dim=1)

    def text(self, phrases: Sequence[Sequence[int]]) -> Tensor:
        """Word numbers, in any order, to unit vectors (P, DIMENSION)."""
        sums = torch.stack([self.embedding.weight[list(phrase)].sum(0) for phrase in phrases])
        return F.normalize(sums + self.mix(sums), dim=-1)

    def numbers(self, prompt: str) -> tuple[int, ...]:
        """The known words of a text.

        Raises:
            BackendError: there are none.
        """
        found = tuple(self._index[word] for word in re.findall(r"[a-z]+", prompt.lower()) if word in self._index)
        if not found:
            raise BackendError(f"clip-nano knows no word of {prompt!r}; it knows {', '.join(self.words)}")
        return found


class NanoImageTextEncoder:
    """clip-nano, frozen (see `Evidence`)."""

    name = "clip-nano"

    def __init__(self, config: NanoClipConfig, device: torch.device) -> None:
        """Load it.

        Raises:
            BackendError: the weights are missing or of another network.
        """
        self.device = device
        self._model = load(config.weights or str(CLIP_NANO)).to(device)
        self.weights_hash = hash_state(self._model.state_dict())

    @torch.no_grad()
    def dense(self, images: Sequence[Image]) -> list[Tensor]:
        """See `Evidence`."""
        resized = np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images])
        maps = self._model.image_map(normalised(torch.from_numpy(resized).to(self.device)))
        return list(maps.permute(0, 2, 3, 1).float().cpu())

    @torch.no_grad()
    def texts(self, prompts: Sequence[str]) -> Tensor:
        """See `Evidence`."""
        return self._model.text([self._model.numbers(prompt) for prompt in prompts]).cpu()


def load(location: str) -> NanoClip:
    """The network in a file, frozen, float32.

    Raises:
        BackendError: it is missing or of another network.
    """
    state = load_state(location)
    words = state.pop(_WORDS, None)
    if words is None:
        raise BackendError(f"weights {location!r} are not clip-nano's: they name no words")
    model = NanoClip(bytes(words.tolist()).decode().split())
    load_into(model, {name: value.float() for name, value in state.items()}, f"weights {location!r} of clip-nano")
    return model.eval().requires_grad_(False)


def save(model: NanoClip, path: Path) -> None:
    """Weights as fp16 and the words beside them, whole or not at all."""
    state: dict[str, Tensor] = {
        name: value.half().contiguous() for name, value in model.state_dict().items() if value.is_floating_point()
    }
    state[_WORDS] = torch.tensor(list(" ".join(model.words).encode()), dtype=torch.uint8)
    partial = path.with_suffix(".partial")
    save_file(state, partial, metadata={"model": "clip-nano"})
    partial.replace(path)
