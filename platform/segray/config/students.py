"""Which student is trained, and how it predicts."""

from typing import Annotated, Literal

import pydantic

from segray.config.base import config
from segray.config.sam import Tiles, Unit

Count = Annotated[int, pydantic.Field(ge=1)]
Positive = Annotated[float, pydantic.Field(gt=0)]


@config
class NanoBackbone:
    """The convolutional encoder of sam-nano (strides 4 to 32): trains on two CPU cores."""

    kind: Literal["nano"] = "nano"
    pretrained: bool = True
    """Start from what sam-nano learned on family A of the procedural worlds, as real backbones start from ImageNet,
    with frozen batch norm; else from random weights, with group norm."""


@config
class HfBackbone:
    """A backbone of transformers."""

    kind: Literal["hf"] = "hf"
    architecture: Literal["resnet-18", "resnet-50", "swin-tiny", "swin-base", "swin-large"] = "resnet-50"
    """The architecture; no norm of it looks at the batch (losses would depend on the number of workers)."""
    weights: str | None = None
    """Local folder or hub id of a pretrained model of that architecture, whose batch norm is then frozen (detectron2's
    default); none: random, with group norm."""
    revision: str | None = None
    """Commit or tag of a hub model."""


Backbone = Annotated[NanoBackbone | HfBackbone, pydantic.Field(discriminator="kind")]


@config
class Predict:
    """How a student's output becomes instances (methods.md section 2, last rows)."""

    top_k: Count = 100
    """Most instances per image: the best (query, class) pairs. Also the maxDets of its evaluation."""
    score_threshold: Unit = 0.0
    """Instances below this score (class probability x mean mask probability) are left out; AP wants 0."""
    side: Annotated[int, pydantic.Field(ge=32)] = 128
    """The image's longer side is resized to this many pixels; Cityscapes 2048, COCO 1333."""
    tiles: Tiles | None = None
    """Larger images tile by tile, each tile resized to `side`; none: every image whole."""


@config
class Mask2Former:
    """Mask2Former through transformers; defaults are the paper's (methods.md section 2), presets make it small."""

    kind: Literal["mask2former"] = "mask2former"
    backbone: Backbone = NanoBackbone()
    """What makes features of the image."""
    start: str | None = None
    """Folder of a student of this architecture to start from; only what depends on classes and queries is new then.
    "nano": the one that segray ships, trained on family A of the procedural worlds. None: the backbone's weights."""
    num_queries: Count = 100
    """Most objects in an image that it can tell apart."""
    hidden_dim: Count = 256
    """Width of the decoders."""
    mask_feature_size: Count = 256
    """Channels of the stride-4 map."""
    num_heads: Count = 8
    """Attention heads."""
    pixel_decoder_layers: Count = 6
    """Layers of multi-scale deformable attention."""
    pixel_decoder_feedforward: Count = 1024
    """Width of their feed-forward nets."""
    decoder_layers: Count = 9
    """Layers of masked attention; with the queries' own output, one more outputs are supervised."""
    decoder_feedforward: Count = 2048
    """Width of their feed-forward nets."""
    class_weight: Positive = 2.0
    """Of the cross-entropy over classes."""
    mask_weight: Positive = 5.0
    """Of the point-sampled binary cross-entropy."""
    dice_weight: Positive = 5.0
    """Of the point-sampled dice loss."""
    no_object_weight: Positive = 0.1
    """Of "no object" within the cross-entropy."""
    num_points: Count = 12544
    """Points per mask at which masks are compared."""
    oversample_ratio: Annotated[float, pydantic.Field(ge=1)] = 3.0
    """Points drawn per point kept."""
    importance_sample_ratio: Unit = 0.75
    """Share of points kept for being the most uncertain."""
    predict: Predict = Predict()
    """How its output becomes instances."""

    @pydantic.model_validator(mode="after")
    def _widths_divide(self) -> "Mask2Former":
        if self.hidden_dim % 32 or self.hidden_dim % self.num_heads:
            raise ValueError(
                f"hidden_dim {self.hidden_dim} must be a multiple of 32 (groups of its norms) and of num_heads"
                f" {self.num_heads}"
            )
        return self


Student = Mask2Former
"""One kind so far; a second makes this a union by `kind`."""
