"""Cross-attention between a prompt's few tokens and an image's thousands, in an order that spares the thousands.

Projecting thousands of image tokens for each prompt is what the original spends its time on. Here the projection is
folded into the tokens instead: `(x W) k = x (W k)`. Where all prompts still share the image side (the first block), its
projections are made once an image. The sums are the original's; only their order differs.

Shapes: G prompts of one image, T tokens of a prompt, N image tokens, C channels, H heads, D channels of a head.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from segment_anything.modeling.transformer import Attention
from torch import Tensor

from segray.sam.backends.segment_anything.onednn import add_matmul, linear, matmul


class CrossAttention:
    """The weights of a segment-anything `Attention`, cut into heads."""

    def __init__(self, module: Attention) -> None:
        self.module = module
        self.heads: int = module.num_heads
        self.width: int = module.internal_dim // self.heads
        self.query_weight = module.q_proj.weight.view(self.heads, self.width, -1)
        self.query_bias = module.q_proj.bias.view(self.heads, self.width)
        self.key_weight = module.k_proj.weight.view(self.heads, self.width, -1)
        self.value_weight = module.v_proj.weight.view(self.heads, self.width, -1)
        self.value_bias = module.v_proj.bias.view(self.heads, self.width)
        self.out_weight = module.out_proj.weight.view(-1, self.heads, self.width)
        self.out_bias = module.out_proj.bias / self.heads
        self.own_head = torch.eye(self.heads, device=self.query_bias.device)[:, :, None]

    def queries(self, tokens: Tensor) -> Tensor:
        """Scaled queries of tokens (G, T, C): (G, T, H, D)."""
        return self._by_head(self.module.q_proj(tokens)) / math.sqrt(self.width)

    def keys(self, tokens: Tensor) -> Tensor:
        """Scaled keys of tokens (G, T, C): (G, T, H, D)."""
        return self._by_head(self.module.k_proj(tokens)) / math.sqrt(self.width)

    def added(self, tokens: Tensor) -> Tensor:
        """What each token adds to an image token that looks at it alone, by head: (G, T * H, C)."""
        values = self._by_head(self.module.v_proj(tokens))
        # A head's weights add up to 1 over the tokens, so each head may carry its share of the bias.
        by_head: Tensor = torch.einsum("gthd,chd->gthc", values, self.out_weight) + self.out_bias
        return by_head.flatten(1, 2)

    def joined(self, seen: Tensor) -> Tensor:
        """What each head of a token saw (G, T, H, D), through the output projection: (G, T, C)."""
        out: Tensor = self.module.out_proj(seen.flatten(2))
        return out

    def spread(self, by_head: Tensor) -> Tensor:
        """(G, T, H, D) to (G * T * H, H * D), zero outside the own head: all heads in one product."""
        return (by_head[..., None, :] * self.own_head).flatten(3).flatten(0, 2)

    def gathered(self, spread: Tensor, tokens: int) -> Tensor:
        """Each head's own part of (G * T * H, H * D): (G, T, H, D)."""
        blocks = spread.view(-1, tokens, self.heads, self.heads, self.width)
        return blocks.diagonal(dim1=2, dim2=3).movedim(-1, 2)

    def _by_head(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, self.width)


class ImageSide(Protocol):
    """The image tokens of a group of prompts."""

    def read(self, attention: CrossAttention, placed: Tensor) -> Tensor:
        """What tokens (G, T, C), their positions added, see in the image: (G, T, C)."""
        ...

    def write(self, attention: CrossAttention, placed: Tensor, tokens: Tensor) -> Tensor:
        """Image tokens (G, N, C) with what they saw in the tokens added."""
        ...


@dataclass(frozen=True, kw_only=True)
class SharedImageTokens:
    """Before the first block: one image's tokens, the same for all its prompts."""

    keys: Tensor
    """(N, C)"""
    read_keys: Tensor
    """(N, H * D) the tokens' look at the image."""
    read_values: Tensor
    """(N, H * D)"""
    write_queries: Tensor
    """(N, H * D) the image's look at the tokens."""

    @classmethod
    def of(cls, keys: Tensor, image_pe: Tensor, read: CrossAttention, write: CrossAttention) -> "SharedImageTokens":
        """Projections of image tokens (N, C) with positions (N, C), for the first block's two attentions."""
        placed = keys + image_pe
        return cls(
            keys=keys,
            read_keys=read.module.k_proj(placed),
            read_values=read.module.v_proj(keys),
            write_queries=write.module.q_proj(placed),
        )

    def read(self, attention: CrossAttention, placed: Tensor) -> Tensor:
        """See `ImageSide`."""
        weights = torch.softmax(linear(attention.spread(attention.queries(placed)), self.read_keys), dim=-1)
        return attention.joined(attention.gathered(linear(weights, self.read_values.T), placed.shape[1]))

    def write(self, attention: CrossAttention, placed: Tensor, tokens: Tensor) -> Tensor:
        """See `ImageSide`."""
        logits = linear(attention.spread(attention.keys(placed)), self.write_queries)
        weights = _softmax_over_tokens(logits.view(len(placed), -1, len(self.keys)), placed.shape[1])
        return add_matmul(self.keys.expand(len(placed), -1, -1), weights.mT, attention.added(tokens))


@dataclass(frozen=True, kw_only=True)
class PromptImageTokens:
    """After the first block: image tokens that differ from prompt to prompt."""

    keys: Tensor
    """(G, N, C)"""
    placed_keys: Tensor
    """(G, N, C) with their positions added."""

    def of(self, prompts: Tensor) -> "PromptImageTokens":
        """Of some of the prompts, by rising index; of all without a copy."""
        if len(prompts) == len(self.keys):
            return self
        return PromptImageTokens(keys=self.keys[prompts], placed_keys=self.placed_keys[prompts])

    def read(self, attention: CrossAttention, placed: Tensor) -> Tensor:
        """See `ImageSide`."""
        groups, tokens, _ = placed.shape
        folded = torch.einsum("gthd,hdc->gthc", attention.queries(placed), attention.key_weight).flatten(1, 2)
        # The keys' bias would add the same to all image tokens, which the softmax takes away again.
        weights = torch.softmax(matmul(folded, self.placed_keys.mT), dim=-1)
        seen = matmul(weights, self.keys).view(groups, tokens, attention.heads, -1)
        values = torch.einsum("gthc,hdc->gthd", seen, attention.value_weight) + attention.value_bias
        return attention.joined(values)

    def write(self, attention: CrossAttention, placed: Tensor, tokens: Tensor) -> Tensor:
        """See `ImageSide`."""
        token_keys = attention.keys(placed)
        folded = torch.einsum("gthd,hdc->gthc", token_keys, attention.query_weight).flatten(1, 2)
        offset = torch.einsum("gthd,hd->gth", token_keys, attention.query_bias).flatten(1)[..., None]
        logits = matmul(folded, self.placed_keys.mT).add_(offset)
        weights = _softmax_over_tokens(logits, placed.shape[1])
        return add_matmul(self.keys, weights.mT, attention.added(tokens))


def _softmax_over_tokens(logits: Tensor, tokens: int) -> Tensor:
    """(G, T * H, N), summing to 1 over the tokens for each head."""
    return torch.softmax(logits.view(len(logits), tokens, -1), dim=1).view_as(logits)
