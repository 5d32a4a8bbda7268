"""Models of the segment-anything package behind the `Sam` protocol: vit_b, vit_l, vit_h and segray's nano.

Knows image sizes, prompts and weights; `decoder` beside this module runs the mask decoder. Results equal the
package's own up to rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image as Pillow
from segment_anything import build_sam_vit_b, build_sam_vit_h, build_sam_vit_l
from segment_anything.modeling import Sam as Model
from torch import Tensor
from torch.nn import functional as F

from segray.config.types import Precision
from segray.nets.device import autocast
from segray.sam.backends.segment_anything import nano
from segray.sam.backends.segment_anything.attention import SharedImageTokens
from segray.sam.backends.segment_anything.decoder import DecoderState, TwoWayDecoder
from segray.sam.backends.segment_anything.resample import padded_square, resample
from segray.sam.protocol import BOX_LOWER_RIGHT, BOX_UPPER_LEFT, PADDING, Decoded, Embedding, Image, Prompts

ARCHITECTURES: Final[dict[str, Callable[[], Model]]] = {
    "nano": nano.build_sam_nano,
    "vit_b": build_sam_vit_b,
    "vit_l": build_sam_vit_l,
    "vit_h": build_sam_vit_h,
}

_CACHED_NUMBERS: Final = 2**19
"""How many numbers the image tokens of a part of prompts may have on a CPU: one prompt of vit_*, four of nano."""
_CUDA_PROMPTS: Final = 256


@dataclass(frozen=True, kw_only=True)
class _Handle:
    state: DecoderState
    first_mask: int
    """Mask token of the first answer: 0 is the single mask, 1 to 3 are the answers to ambiguous prompts."""


class OriginalSam:
    """A segment-anything `Sam` as segray's; `segray.sam.build.build` makes one. The model is moved, frozen and kept."""

    def __init__(
        self,
        model: Model,
        *,
        name: str,
        weights_hash: str,
        device: torch.device,
        dtype: Precision = "float32",
        compiled: bool = False,
    ) -> None:
        self.name = name
        self.weights_hash = weights_hash
        self.device = device
        self.mask_threshold = float(model.mask_threshold)
        self.model = model.to(device).eval().requires_grad_(False)
        self.dtype = dtype
        image_pe = self.model.prompt_encoder.get_dense_pe()[0]
        part = _CUDA_PROMPTS if device.type == "cuda" else max(1, _CACHED_NUMBERS // image_pe.numel())
        self.prompts_at_once = _CUDA_PROMPTS if device.type == "cuda" else max(4, 2 * part)
        self._decoder = TwoWayDecoder(self.model.mask_decoder, image_pe, largest_part=part)
        self._run = torch.compile(self._decoder.run) if compiled else self._decoder.run
        self._encode = torch.compile(self.model.image_encoder) if compiled else self.model.image_encoder

    def fill_hw(self, size_hw: tuple[int, int]) -> tuple[float, float]:
        """See `Sam.fill_hw`."""
        square = self.model.image_encoder.img_size
        height, width = input_size_hw(size_hw, square)
        return height / square, width / square

    @torch.no_grad()
    def embed(self, images: Sequence[Image]) -> Embedding:
        """See `Sam.embed`."""
        inputs = torch.stack([self._input(image) for image in images])
        with autocast(self.device, self.dtype):
            features = self._encode(inputs).float()
            no_mask = self.model.prompt_encoder.no_mask_embed.weight[0]
            sides = [self._decoder.shared_side(one, no_mask) for one in features]
        return Embedding(features=sides, sizes_hw=tuple((image.shape[0], image.shape[1]) for image in images))

    @torch.no_grad()
    def decode(self, embedding: Embedding, prompts: Prompts, *, image_tokens: bool = False) -> Decoded:
        """See `Sam.decode`."""
        sides: Sequence[SharedImageTokens] = embedding.features
        first = 1 if prompts.multimask else 0
        last = self._decoder.num_masks if prompts.multimask else 1
        with autocast(self.device, self.dtype):
            state = self._run(sides, prompts.image_index.tolist(), self._sparse(embedding, prompts))
            scores = self._decoder.ious(state)[:, first:last].float()
        tokens = torch.cat([side.keys for side in state.sides]).float() if image_tokens else None
        handle = _Handle(state=state, first_mask=first)
        return Decoded(scores=scores, prompts=prompts, handle=handle, image_tokens=tokens)

    @torch.no_grad()
    def logits(self, decoded: Decoded, keep: Tensor) -> Tensor:
        """See `Sam.logits`."""
        handle: _Handle = decoded.handle
        keep, answers = keep.to(self.device), decoded.scores.shape[1]
        with autocast(self.device, self.dtype):
            return self._decoder.masks(handle.state, keep // answers, keep % answers + handle.first_mask)

    @torch.no_grad()
    def upscale(self, logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """See `Sam.upscale`."""
        square = self.model.image_encoder.img_size
        shown = input_size_hw(size_hw, square)
        rows, columns = (
            padded_square(low, square, unpadded, size, logits.device)
            for low, unpadded, size in zip(logits.shape[-2:], shown, size_hw, strict=True)
        )
        return resample(logits, rows, columns)

    def _input(self, image: Image) -> Tensor:
        """The encoder's square input (3, S, S): resized as 8-bit pixels, normalised, padded with zeros."""
        square = self.model.image_encoder.img_size
        height, width = input_size_hw((image.shape[0], image.shape[1]), square)
        resized = Pillow.fromarray(image).resize((width, height), Pillow.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(resized)).to(self.device).permute(2, 0, 1)
        normal = (pixels - self.model.pixel_mean) / self.model.pixel_std
        return F.pad(normal, (0, square - width, 0, square - height))

    def _sparse(self, embedding: Embedding, prompts: Prompts) -> Tensor:
        """Embeddings (P, K, C) of the prompts' points; one that is no point follows unless there is a box."""
        encoder = self.model.prompt_encoder
        points, labels = self._to_input(embedding, prompts), prompts.labels.to(self.device)
        if not ((labels == BOX_UPPER_LEFT) | (labels == BOX_LOWER_RIGHT)).any():
            points = F.pad(points, (0, 0, 0, 1))
            labels = F.pad(labels, (0, 1), value=PADDING)
        placed = encoder.pe_layer.forward_with_coords(points + 0.5, encoder.input_image_size)
        kinds = torch.cat([encoder.not_a_point_embed.weight, *(one.weight for one in encoder.point_embeddings)])
        sparse: Tensor = placed * (labels != PADDING)[..., None] + kinds[labels.long() + 1]
        return sparse

    def _to_input(self, embedding: Embedding, prompts: Prompts) -> Tensor:
        """The prompts' points in pixels of the encoder's input."""
        square = self.model.image_encoder.img_size
        scales = []
        for height, width in embedding.sizes_hw:
            new_height, new_width = input_size_hw((height, width), square)
            scales.append((new_width / width, new_height / height))
        scale = torch.tensor(scales, dtype=torch.float64, device=self.device)
        return prompts.points_xy.to(self.device) * scale[prompts.image_index.to(self.device)][:, None]


def input_size_hw(size_hw: tuple[int, int], square: int) -> tuple[int, int]:
    """Size of an image whose longer side was made `square` pixels."""
    scale = square * 1.0 / max(size_hw)
    height, width = (max(1, int(side * scale + 0.5)) for side in size_hw)
    return height, width
