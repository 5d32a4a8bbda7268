"""Settings of students: their networks, losses and how they predict."""

from typing import Annotated, ClassVar, Literal

import pydantic

from segray.config.base import config
from segray.config.sam import Tiles
from segray.config.types import Count, Positive, Share, ShareBelowOne


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
class InstancePredict:
    """Settings that turn a student's output into instances (docs/methods/mask2former.md#inference)."""

    top_k: Count = 100
    """Most instances per image: the best (query, class) pairs. Also the maxDets of its evaluation."""
    score_threshold: Share = 0.0
    """Instances below this score (class probability x mean mask probability) are left out; AP wants 0."""
    side: Annotated[int, pydantic.Field(ge=32)] = 128
    """The image's longer side is resized to this many pixels; Cityscapes 2048, COCO 1333."""
    tiles: Tiles | None = None
    """Larger images tile by tile, each tile resized to `side`; none: every image whole."""


@config
class StudentSettings:
    """Settings that every student has; a student adds its own, and a line to `config.registry`."""

    network: ClassVar[str]
    """Its class, as `module:Class` (see `segray.models.student.Student`)."""
    multiple: ClassVar[int] = 32
    """Sides of its canvases are multiples of this."""
    kind: str
    """The student."""
    start: str | None = None
    """Folder of a student of this architecture to start from; only what depends on the classes is new then. None: the
    backbone's weights."""


@config
class InstanceStudentConfig(StudentSettings):
    """The settings that all students of instances share: queries that answer with a class and a mask, and the loss that
    pairs them with objects (docs/methods/mask2former.md#losses).
    """

    start: str | None = None
    """Folder of a student of this architecture to start from; only what depends on classes and queries is new then.
    "nano": the one that segray ships, trained on family A of the procedural worlds. None: the backbone's weights."""
    num_queries: Count = 100
    """Most objects in an image that it can tell apart."""
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
    importance_sample_ratio: Share = 0.75
    """Share of points kept for being the most uncertain."""
    predict: InstancePredict = InstancePredict()
    """How its output becomes instances."""


@config
class Mask2Former(InstanceStudentConfig):
    """Mask2Former through transformers; defaults are the paper's (docs/methods/mask2former.md#network)."""

    network: ClassVar[str] = "segray.models.mask2former:Mask2FormerStudent"
    kind: Literal["mask2former"] = "mask2former"
    backbone: Backbone = NanoBackbone()
    """What makes features of the image."""
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

    @pydantic.model_validator(mode="after")
    def _widths_divide(self) -> "Mask2Former":
        if self.hidden_dim % 32 or self.hidden_dim % self.num_heads:
            raise ValueError(
                f"hidden_dim {self.hidden_dim} must be a multiple of 32 (groups of its norms) and of num_heads"
                f" {self.num_heads}"
            )
        return self


@config
class SlidingWindow:
    """Windows over large images; class probabilities are added up (docs/methods/metrics.md#resizing-and-windows)."""

    size: Annotated[int, pydantic.Field(ge=32)] = 798
    """Side of the square window, pixels of the image; the papers' is that of the training crop."""
    stride: Annotated[float, pydantic.Field(gt=0, le=1)] = 2 / 3
    """From one window to the next, as a share of its side; the last one is moved inside the image."""


@config
class SemanticPredict:
    """Settings that turn logits into a label map (docs/methods/metrics.md#resizing-and-windows)."""

    side: Annotated[int, pydantic.Field(ge=32)] | None = None
    """The image's longer side is resized to this many pixels; none: it stays as it is. Either way each side goes to the
    nearest multiple of what the network needs, and the logits go back to the image's size."""
    window: SlidingWindow | None = None
    """For images larger than a window; none: every image whole."""


@config
class Ohem:
    """Online hard example mining: only hard pixels count (docs/methods/unimatch.md#ohem)."""

    threshold: Share = 0.7
    """Probability of the true class up to which a pixel is hard."""
    min_kept: Share = 200_000 / (2 * 801**2)
    """Share of an image's known pixels, the hardest, that are kept however easy; 200,000 of two crops of 801 x 801."""


@config
class CrossEntropy:
    """The loss on labels."""

    label_smoothing: ShareBelowOne = 0.0
    """Share of the target that is spread over all classes."""
    ohem: Ohem | None = None
    """Hard pixels only; none: all."""


@config
class SemanticStudentConfig(StudentSettings):
    """What all semantic students share."""

    background: bool = True
    """What no mask of the truth covers is a class of its own, "background", the first; false: unknown, as in data whose
    classes leave no pixel out (Cityscapes). Label maps that name a background class say themselves what is unknown."""
    loss: CrossEntropy = CrossEntropy()
    """On labels."""
    predict: SemanticPredict = SemanticPredict()
    """How its output becomes a label map."""


@config
class Fpn(SemanticStudentConfig):
    """A feature pyramid over any backbone of the instance students; with the nano one it trains on two CPU cores."""

    network: ClassVar[str] = "segray.models.fpn:FpnStudent"
    kind: Literal["fpn"] = "fpn"
    backbone: Backbone = NanoBackbone()
    """What makes features of the image."""
    width: Count = 64
    """Channels of the decoder."""


@config
class DeepLab(SemanticStudentConfig):
    """UniMatch V1's student: DeepLabV3+ over an encoder of timm (docs/methods/unimatch.md#v1-network)."""

    network: ClassVar[str] = "segray.models.deeplab:DeepLabStudent"
    kind: Literal["deeplab"] = "deeplab"
    encoder: str = "resnet101d"
    """timm's name of an encoder that can be dilated to stride 16; the papers' have the deep stem of the "d" ones."""
    weights: str | None = None
    """Local file or hub id of its weights, whose batch norm is then frozen; none: random, with group norm."""
    width: Count = 256
    """Channels of the decoder."""
    atrous_rates: tuple[int, int, int] = (6, 12, 18)
    """Dilations of the pyramid pooling; defaults are UniMatch's."""


@config
class Dpt(SemanticStudentConfig):
    """UniMatch V2's student: DPT over DINOv2 through transformers (docs/methods/unimatch.md#v2-network)."""

    multiple: ClassVar[int] = 14
    """DINOv2's patches."""
    network: ClassVar[str] = "segray.models.dpt:DptStudent"
    kind: Literal["dpt"] = "dpt"
    size: Literal["tiny", "small", "base", "large"] = "small"
    """Of DINOv2; tiny is no published one: three blocks, for tests and CPUs."""
    weights: str | None = None
    """Local folder or hub id of a DINOv2, such as facebook/dinov2-small; none: random."""
    revision: str | None = None
    """Commit or tag of a hub model."""


@config
class SegFormer(SemanticStudentConfig):
    """SegFormer, by transformers. Check the licence of the weights: those of its authors are not for commercial use."""

    network: ClassVar[str] = "segray.models.segformer:SegFormerStudent"
    kind: Literal["segformer"] = "segformer"
    size: Literal["b0", "b1", "b2", "b3", "b4", "b5"] = "b0"
    """Of its encoder."""
    weights: str | None = None
    """Local folder or hub id of an encoder of this size; none: random."""
    revision: str | None = None
    """Commit or tag of a hub model."""
