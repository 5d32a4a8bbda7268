"""The nano SAM: segment-anything's prompt encoder and mask decoder, narrow, over a small convolutional encoder.

Knows the architecture, whose encoder grows from `segray.nets.trunk`. Does not know how it was trained
(tools.nano.train_sam) nor the Sam protocol (the `original` backend wraps what is built here as it wraps a ViT). A
convolutional encoder with a top-down fusion is used because 3x3 convolutions are several times faster than attention's
matrix products on a CPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from segray.assets import SAM_NANO
from segray.errors import BackendError
from segray.nets.trunk import POSITION_CHANNELS, Trunk, conv_norm_act, sinusoids

IMAGE_SIZE: Final = 256
"""Side of the encoder's square input, pixels."""
STRIDE: Final = 8
"""Pixels per cell of the image embedding; mask logits are four times finer."""
EMBED_DIM: Final = 128


class NanoEncoder(Trunk):
    """Normalised image (B, 3, 256, 256) -> embedding (B, EMBED_DIM, 32, 32); `img_size` is what Sam asks of it."""

    def __init__(self) -> None:
        super().__init__()
        self.img_size = IMAGE_SIZE
        self.place_late = nn.Conv2d(POSITION_CHANNELS, EMBED_DIM, 1)
        self.from32 = nn.Conv2d(192, 160, 1)
        self.from16 = nn.Conv2d(160, EMBED_DIM, 1)
        self.fuse16 = nn.Sequential(*conv_norm_act(160, 160))
        self.fuse8 = nn.Sequential(*conv_norm_act(EMBED_DIM, EMBED_DIM))
        norm = nn.BatchNorm2d(EMBED_DIM)
        nn.init.constant_(norm.weight, 0.5)
        self.neck = nn.Sequential(nn.Conv2d(EMBED_DIM, EMBED_DIM, 1, bias=False), norm)

    def forward(self, images: Tensor) -> Tensor:
        """The trunk's features, fused from the coarsest up to stride 8."""
        _, x8, x16, x32 = self.pyramid(images)
        x16 = self.fuse16(x16 + F.interpolate(self.from32(x32), scale_factor=2.0, mode="nearest"))
        x8 = x8 + F.interpolate(self.from16(x16), scale_factor=2.0, mode="nearest")
        x8 = self.fuse8(x8 + self.place_late(sinusoids(x8.shape[2], x8.shape[3], x8.device)))
        out: Tensor = self.neck(x8)
        return out


def build_sam_nano() -> Sam:
    """The architecture with random weights, in eval mode, for everything that takes a segment-anything `Sam`."""
    grid = IMAGE_SIZE // STRIDE
    sam = Sam(
        image_encoder=NanoEncoder(),
        prompt_encoder=PromptEncoder(
            embed_dim=EMBED_DIM,
            image_embedding_size=(grid, grid),
            input_image_size=(IMAGE_SIZE, IMAGE_SIZE),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=EMBED_DIM,
            transformer=TwoWayTransformer(depth=2, embedding_dim=EMBED_DIM, num_heads=4, mlp_dim=256),
            activation=nn.ReLU,
            iou_head_hidden_dim=128,
        ),
    )
    _attend_by_position(sam.mask_decoder.transformer)
    sam.image_encoder.to(memory_format=torch.channels_last)
    return sam.eval()


@torch.no_grad()
def _attend_by_position(transformer: TwoWayTransformer, gain: float = 2.5) -> None:
    """Start with tokens and pixels attending to each other where their positions agree.

    Equal projections of queries and keys make the attention a kernel of the positional encodings from the first step;
    from independent ones, training spends hundreds of steps on empty masks before it finds where the points are.
    """
    attentions = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        attentions += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    for attention in attentions:
        attention.k_proj.weight *= gain
        attention.q_proj.weight.copy_(attention.k_proj.weight)


def load_sam_nano(path: Path = SAM_NANO) -> Sam:
    """The nano SAM with trained weights, fp32 on the CPU; BackendError when the file is missing or of another net."""
    if not path.is_file():
        raise BackendError(
            f"sam-nano weights not found at {path}: give a path, or train them with tools.nano.train_sam"
        )
    sam = build_sam_nano()
    tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    missing, unexpected = sam.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise BackendError(f"{path} is not sam-nano: missing {missing[:3]}, unexpected {unexpected[:3]}")
    return sam
