"""GEM: dense features of a CLIP image encoder that can be compared with its texts (docs/methods/zero-shot.md#gem).

The last blocks get a second path in which queries, keys and values each attend to themselves; it starts from the
original stream, which runs on unchanged beside it, and has no MLP. Knows transformers' CLIP vision model and tensors.
"""

from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

DEPTH: Final = 6
"""Last blocks that have the second path; GEM's own `depth=7` counts one more."""


@torch.no_grad()
def tokens(vision: Any, pixels: Tensor) -> Tensor:
    """Tokens (B, h * w, C) of normalised pixels (B, 3, S, S) after the last norm, without the class token.

    `vision` is a `CLIPVisionModel`; its `visual_projection` is for the caller.
    """
    hidden = vision.pre_layrnorm(vision.embeddings(pixels, interpolate_pos_encoding=True))
    layers = vision.encoder.layers
    for layer in layers[:-DEPTH]:
        hidden = layer(hidden, None)
    stream = hidden
    for layer in layers[-DEPTH:]:
        stream = stream + self_self_attention(layer.self_attn, layer.layer_norm1(hidden))
        hidden = layer(hidden, None)
    out: Tensor = vision.post_layernorm(stream)[:, 1:]
    return out


def self_self_attention(attention: Any, x: Tensor) -> Tensor:
    """The mean of what queries, keys and values make of the values when each attends to itself; (B, T, C) to (B, T, C).

    The temperature adapts: the mean norm of an image's tokens times the scale of the heads.
    """
    batch, number, width = x.shape

    def heads(projection: Any) -> Tensor:
        split: Tensor = projection(x).reshape(batch, number, attention.num_heads, attention.head_dim).transpose(1, 2)
        return split

    temperature = x.norm(dim=-1).mean(dim=-1)[:, None, None, None] * attention.scale
    values = heads(attention.v_proj)
    mixed = [
        _affinity(_refined(one, temperature), temperature) @ values
        for one in (values, heads(attention.k_proj), heads(attention.q_proj))
    ]
    joined = torch.stack(mixed).mean(0).transpose(1, 2).reshape(batch, number, width)
    out: Tensor = attention.out_proj(joined)
    return out


def _refined(x: Tensor, temperature: Tensor) -> Tensor:
    """One pass that draws tokens of a group together."""
    unit = F.normalize(x, dim=-1)
    return _affinity(unit, temperature) @ unit


def _affinity(x: Tensor, temperature: Tensor) -> Tensor:
    unit = F.normalize(x, dim=-1)
    return (unit @ unit.transpose(-2, -1) * temperature).softmax(dim=-1)
