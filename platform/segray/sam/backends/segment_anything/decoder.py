"""segment-anything's mask decoder, cut where it pays: transformer, predicted IoU, and masks only on demand.

Knows the decoder's structure and runs the weights of a `MaskDecoder`; knows nothing of images, sizes or files. Of the
last attention only the IoU token's row is worked out until a mask is asked for.

Shapes as in `attention`. Image tokens go in parts of G prompts of one image: one on a CPU, so that they stay in its
cache, many on a GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from segment_anything.modeling import MaskDecoder
from segment_anything.modeling.transformer import TwoWayAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F

from segray.sam.backends.segment_anything.attention import (
    CrossAttention,
    ImageSide,
    PromptImageTokens,
    SharedImageTokens,
)
from segray.sam.backends.segment_anything.onednn import linear, matmul

UPSCALED_AT_ONCE = 1024
"""Image tokens whose masks are made at once on a CPU: what they grow to stays in its cache."""


@dataclass(frozen=True, kw_only=True)
class DecoderState:
    """P prompts after the last block."""

    queries: Tensor
    """(P, T, C)"""
    tokens: Tensor
    """(P, T, C) as they came in."""
    parts: Sequence[slice]
    """Which prompts go together."""
    sides: Sequence[PromptImageTokens]
    """Their image tokens."""


class TwoWayDecoder:
    """Runs a `MaskDecoder`; `image_pe` (C, h, w) is the dense positional encoding, `largest_part` the largest G."""

    def __init__(self, decoder: MaskDecoder, image_pe: Tensor, largest_part: int) -> None:
        self.decoder = decoder
        self.largest_part = largest_part
        self.grid_hw: tuple[int, int] = (image_pe.shape[-2], image_pe.shape[-1])
        self.image_pe = image_pe.flatten(1).T.contiguous()
        self.blocks = list(decoder.transformer.layers)
        self.reads = [CrossAttention(block.cross_attn_token_to_image) for block in self.blocks]
        self.writes = [CrossAttention(block.cross_attn_image_to_token) for block in self.blocks]
        self.last_read = CrossAttention(decoder.transformer.final_attn_token_to_image)
        self.output_tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        self.num_masks: int = decoder.num_mask_tokens

    def shared_side(self, features: Tensor, no_mask: Tensor) -> SharedImageTokens:
        """Of one embedding (C, h, w) and the dense prompt embedding (C,) that stands for no mask."""
        keys = (features.flatten(1).T + no_mask).contiguous()
        return SharedImageTokens.of(keys, self.image_pe, self.reads[0], self.writes[0])

    def run(self, images: Sequence[SharedImageTokens], image_index: Sequence[int], sparse: Tensor) -> DecoderState:
        """All blocks over P prompts with sparse embeddings (P, K, C), each of one of the images."""
        tokens = torch.cat([self.output_tokens.expand(len(sparse), -1, -1), sparse], dim=1)
        parts = _parts(image_index, self.largest_part)
        sides: Sequence[ImageSide] = [images[image_index[part.start]] for part in parts]
        queries, own = tokens, []
        for number, (block, read, write) in enumerate(zip(self.blocks, self.reads, self.writes, strict=True)):
            queries = _attend_to_each_other(block, queries, tokens, first=number == 0)
            placed = queries + tokens
            seen = torch.cat([side.read(read, placed[part]) for part, side in zip(parts, sides, strict=True)])
            queries = block.norm2(queries + seen)
            queries = block.norm3(queries + block.mlp(queries))
            placed = queries + tokens
            own = [
                self._own_side(block.norm4(side.write(write, placed[part], queries[part])))
                for part, side in zip(parts, sides, strict=True)
            ]
            sides = own
        return DecoderState(queries=queries, tokens=tokens, parts=parts, sides=own)

    def ious(self, state: DecoderState) -> Tensor:
        """Predicted IoU of every mask token, (P, M)."""
        looks = [
            self._last_look(side, state.queries[part, :1], state.tokens[part, :1])
            for part, side in zip(state.parts, state.sides, strict=True)
        ]
        ious: Tensor = self.decoder.iou_prediction_head(torch.cat(looks)[:, 0])
        return ious

    def masks(self, state: DecoderState, prompts: Tensor, mask_tokens: Tensor) -> Tensor:
        """Logits (K, 4 h, 4 w) of K masks, each given by its prompt and the number of its mask token."""
        out = torch.empty(len(prompts), 4 * self.grid_hw[0], 4 * self.grid_hw[1], device=prompts.device)
        for part, side in zip(state.parts, state.sides, strict=True):
            rows = torch.nonzero((prompts >= part.start) & (prompts < part.stop))[:, 0]
            if len(rows) == 0:
                continue
            wanted, which = torch.unique(prompts[rows] - part.start, return_inverse=True)
            kept = side.of(wanted)
            weights = self._mask_weights(kept, state.queries[part][wanted], state.tokens[part][wanted])
            out[rows] = self._upscaled(kept.keys, weights, which, mask_tokens[rows]).float()
        return out

    def _own_side(self, keys: Tensor) -> PromptImageTokens:
        return PromptImageTokens(keys=keys, placed_keys=keys + self.image_pe)

    def _last_look(self, side: PromptImageTokens, queries: Tensor, tokens: Tensor) -> Tensor:
        looked: Tensor = self.decoder.transformer.norm_final_attn(queries + side.read(self.last_read, queries + tokens))
        return looked

    def _mask_weights(self, side: PromptImageTokens, queries: Tensor, tokens: Tensor) -> Tensor:
        """How each mask token weighs the upscaled channels, (G, M, c)."""
        of_masks = slice(1, 1 + self.num_masks)
        looked = self._last_look(side, queries[:, of_masks], tokens[:, of_masks])
        nets = self.decoder.output_hypernetworks_mlps
        return torch.stack([net(looked[:, number]) for number, net in enumerate(nets)], dim=1)

    def _upscaled(self, keys: Tensor, weights: Tensor, which: Tensor, mask_tokens: Tensor) -> Tensor:
        """Image tokens (G, N, C) weighed into the logits of masks (K, 4 h, 4 w), channels last all the way."""
        height, width = self.grid_hw
        rows = height if keys.is_cuda else max(1, UPSCALED_AT_ONCE // width)
        bands = []
        for top in range(0, height, rows):
            x = self._grown(keys[:, top * width : (top + rows) * width])
            logits = matmul(weights, x.mT)[which, mask_tokens]
            # Each cell of the embedding became 2 x 2 pixels, and each of these 2 x 2.
            cells = logits.view(len(which), -1, width, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
            bands.append(cells.flatten(4).flatten(1, 3))
        return torch.cat(bands, dim=1)

    def _grown(self, keys: Tensor) -> Tensor:
        """Image tokens (G, n, C) to (G, n * 16, c): twice, a transposed convolution whose stride is its kernel."""
        grow1, norm, act1, grow2, act2 = self.decoder.output_upscaling
        x = linear(keys, *_as_linear(grow1)).view(len(keys), -1, grow1.out_channels)
        x = act1(F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.eps))
        grown: Tensor = act2(linear(x, *_as_linear(grow2))).view(len(keys), -1, grow2.out_channels)
        return grown


def _attend_to_each_other(block: TwoWayAttentionBlock, queries: Tensor, tokens: Tensor, *, first: bool) -> Tensor:
    """The tokens' self-attention; in the first block there are no positions and no shortcut yet."""
    placed = queries if first else queries + tokens
    seen = block.self_attn(q=placed, k=placed, v=queries)
    attended: Tensor = block.norm1(seen if first else queries + seen)
    return attended


def _as_linear(grow: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """A transposed convolution (stride 2, kernel 2) as one matrix product: weight (4 * out, in), bias (4 * out,)."""
    assert grow.bias is not None
    return grow.weight.permute(2, 3, 1, 0).flatten(0, 2), grow.bias.repeat(4)


def _parts(image_index: Sequence[int], largest: int) -> list[slice]:
    """Runs of prompts of one image, cut to at most `largest`."""
    parts: list[slice] = []
    start = 0
    for end in range(1, len(image_index) + 1):
        if end == len(image_index) or image_index[end] != image_index[start] or end - start == largest:
            parts.append(slice(start, end))
            start = end
    return parts
