"""Architectures of DINOv2 and DINOv3 by transformers, by size. Knows nothing of what reads their features."""

from collections.abc import Sequence
from typing import Any, Final, Literal

from transformers import Dinov2Backbone, Dinov2Config, DINOv3ViTBackbone, DINOv3ViTConfig

DinoVersion = Literal["dinov2", "dinov3"]

WIDTHS: Final = {"tiny": 48, "small": 384, "base": 768, "large": 1024}
PATCHES: Final = {"dinov2": 14, "dinov3": 16}
"""Side of a patch in pixels."""
CLASSES: Final[dict[str, Any]] = {"dinov2": Dinov2Backbone, "dinov3": DINOv3ViTBackbone}
BLOCKS: Final = {"tiny": 4, "small": 12, "base": 12, "large": 24}
_HEADS: Final = {"tiny": 3, "small": 6, "base": 12, "large": 16}


def architecture(version: DinoVersion, size: str, read: Sequence[int]) -> Dinov2Config | DINOv3ViTConfig:
    """Return the settings of a DINO of which some blocks, counted from 1, are read."""
    shared: dict[str, Any] = {
        "hidden_size": WIDTHS[size],
        "num_hidden_layers": BLOCKS[size],
        "num_attention_heads": _HEADS[size],
        "patch_size": PATCHES[version],
        "out_features": [f"stage{block}" for block in read],
    }
    if version == "dinov2":
        return Dinov2Config(image_size=518, **shared)
    # Jitter of positions would draw from the global generator; everything random here is keyed.
    return DINOv3ViTConfig(intermediate_size=4 * WIDTHS[size], num_register_tokens=4, pos_embed_rescale=None, **shared)
