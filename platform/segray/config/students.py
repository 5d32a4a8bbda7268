"""Settings of students: their networks, losses and how they predict."""

from typing import Annotated, Any, ClassVar, Literal

import pydantic

from segray.config.base import config
from segray.config.sam import Tiles
from segray.config.types import Count, CountOrZero, Device, NetworkName, Positive, Share, ShareBelowOne
from segray.config.uris import Uri

Norm = Literal["auto", "synchronised"]
"""Norms in the place of batch norms (see `DeepLab.norm`)."""


@config
class NanoBackbone:
    """The convolutional encoder of sam-nano, with strides 4 to 32, which trains on two CPU cores."""

    kind: Literal["nano"] = "nano"
    pretrained: bool = True
    """Start from the weights that sam-nano learned on family A of the procedural worlds, with frozen batch norm, as
    other backbones start from ImageNet. Otherwise start from random weights, with group norm."""


@config
class HfBackbone:
    """A backbone of transformers."""

    kind: Literal["hf"] = "hf"
    architecture: Literal[
        "resnet-18", "resnet-50", "resnet-101", "swin-tiny", "swin-small", "swin-base", "swin-large"
    ] = "resnet-50"
    """Architecture of the backbone."""
    weights: str | None = None
    """Local folder or Hub id of a pretrained model of that architecture; "none" starts from random weights."""
    norm: Norm = "auto"
    """Norms in the place of batch norms. auto: frozen batch norm in a backbone with weights (detectron2's default),
    group norm in one without. synchronised: trainable batch norm over the images of all workers; with it, losses depend
    on `accumulate`."""
    revision: str | None = None
    """Commit or tag of a Hub model; "none" takes the latest."""


@config
class DinoBackbone:
    """DINOv2 or DINOv3 by transformers. The map of its last block is resized to strides 4 to 32, each with a projection
    of its own, as in GuidedDistillation's code (docs/methods/mask2former.md#network). DINOv3's licence is Meta's own.
    """

    kind: Literal["dino"] = "dino"
    version: Literal["dinov2", "dinov3"] = "dinov2"
    """Version of DINO."""
    size: Literal["tiny", "small", "base", "large"] = "base"
    """Size of DINO; tiny is not a published one, but four blocks for tests and CPUs."""
    weights: str | None = None
    """Local folder or Hub id of a model of that version and size, such as facebook/dinov2-base; "none" starts from
    random weights."""
    revision: str | None = None
    """Commit or tag of a Hub model; "none" takes the latest."""


Backbone = Annotated[NanoBackbone | HfBackbone | DinoBackbone, pydantic.Field(discriminator="kind")]


@config
class InstancePredict:
    """Settings that turn a student's output into instances (docs/methods/mask2former.md#inference)."""

    top_k: Count = 100
    """Largest number of instances per image: the best pairs of query and class. Evaluation uses it as COCO's
    maxDets."""
    score_threshold: Share = 0.0
    """Score (class probability times mean mask probability) below which instances are dropped; 0 is best for AP."""
    side: Annotated[int, pydantic.Field(ge=32)] = 128
    """Length in pixels to which the image's longer side is resized, or its largest length where `shorter_side` is
    given; the papers use 2048 on Cityscapes and 1333 on COCO."""
    shorter_side: Annotated[int, pydantic.Field(ge=32)] | None = None
    """Length in pixels to which the image's shorter side is resized unless its longer one would exceed `side`; the
    papers use 1024 on Cityscapes and 800 on COCO. "none" resizes by the longer side alone."""
    tiles: Tiles | None = None
    """Tiled prediction of large images, each tile resized to `side`; "none" predicts every image whole."""


@config
class StudentSettings:
    """Settings that every student shares. A student adds its own, and a line to `config.model_kinds`."""

    network: ClassVar[str]
    """Its class, as `module:Class` (see `segray.models.student.Student`)."""
    multiple: ClassVar[int] = 32
    """Number of which the sides of the student's canvases are multiples, in pixels."""
    kind: str
    """Kind of student."""
    start: str | None = None
    """Folder of a student of this architecture to start from; only the layers that depend on the classes start from
    random weights. "none" starts from the backbone's weights."""
    frozen_encoder: bool = False
    """Keep the encoder, or backbone, as it was loaded: it computes no gradients, and only what follows it is trained.
    UniMatch V2 reports this beside its main results (docs/methods/unimatch.md#v2-network)."""


@config
class InstanceStudentConfig(StudentSettings):
    """Settings that all instance students share: queries, each answering with a class and a mask, and the loss that
    matches them with objects (docs/methods/mask2former.md#losses).
    """

    start: str | None = None
    """Folder of a student of this architecture to start from; only the layers that depend on the classes and queries
    start from random weights. "nano" is the student that ships with segray, trained on family A of the procedural
    worlds. "none" starts from the backbone's weights."""
    num_queries: Count = 100
    """Number of queries, and so the largest number of objects that the student can tell apart in an image."""
    class_weight: Positive = 2.0
    """Weight of the cross-entropy over classes."""
    mask_weight: Positive = 5.0
    """Weight of the point-sampled binary cross-entropy of masks."""
    dice_weight: Positive = 5.0
    """Weight of the point-sampled dice loss of masks."""
    no_object_weight: Positive = 0.1
    """Weight of the class "no object" within the cross-entropy."""
    num_points: Count = 12544
    """Number of points per mask at which masks are compared."""
    oversample_ratio: Annotated[float, pydantic.Field(ge=1)] = 3.0
    """Number of points drawn for each point kept."""
    importance_sample_ratio: Share = 0.75
    """Share of the points that are kept for being the most uncertain; the rest are drawn uniformly."""
    predict: InstancePredict = InstancePredict()
    """Settings that turn the student's output into instances."""


@config
class Mask2Former(InstanceStudentConfig):
    """Mask2Former by transformers, with the paper's defaults (docs/methods/mask2former.md#network)."""

    network: ClassVar[str] = "segray.models.mask2former:Mask2FormerStudent"
    kind: Literal["mask2former"] = "mask2former"
    backbone: Backbone = NanoBackbone()
    """Backbone that turns an image into features."""
    hidden_dim: Count = 256
    """Width of the decoders, a multiple of 32 and of `num_heads`."""
    mask_feature_size: Count = 256
    """Number of channels of the feature map at stride 4."""
    num_heads: Count = 8
    """Number of attention heads."""
    pixel_decoder_layers: Count = 6
    """Number of layers of multi-scale deformable attention."""
    pixel_decoder_feedforward: Count = 1024
    """Width of the feed-forward networks in the pixel decoder."""
    decoder_layers: Count = 9
    """Number of layers of masked attention. One more output is supervised, that of the queries themselves."""
    decoder_feedforward: Count = 2048
    """Width of the feed-forward networks in the decoder."""

    @pydantic.model_validator(mode="after")
    def _widths_divide(self) -> "Mask2Former":
        if self.hidden_dim % 32 or self.hidden_dim % self.num_heads:
            raise ValueError(
                f"hidden_dim {self.hidden_dim} must be a multiple of 32 (groups of its norms) and of num_heads"
                f" {self.num_heads}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _frozen_norms_stay(self) -> "Mask2Former":
        if self.frozen_encoder and isinstance(self.backbone, HfBackbone) and self.backbone.norm == "synchronised":
            raise ValueError('a frozen encoder keeps its norms: leave out backbone.norm = "synchronised"')
        return self


@config
class SlidingWindow:
    """Windows over large images, whose class probabilities are added up
    (docs/methods/metrics.md#resizing-and-windows).
    """

    size: Annotated[int, pydantic.Field(ge=32)] = 798
    """Side of the square window in pixels of the image; the papers use that of the training crop."""
    stride: Annotated[float, pydantic.Field(gt=0, le=1)] = 2 / 3
    """Distance between windows as a share of their side. The last window is moved inside the image."""


@config
class SemanticPredict:
    """Settings that turn logits into a label map (docs/methods/metrics.md#resizing-and-windows)."""

    side: Annotated[int, pydantic.Field(ge=32)] | None = None
    """Length in pixels to which the image's longer side is resized; "none" keeps its size. Either way each side is
    rounded to a multiple that the network needs, and the logits are resized to the image."""
    shorter_side: Annotated[int, pydantic.Field(ge=32)] | None = None
    """Length in pixels to which the image's shorter side is resized, in place of `side`."""
    scales: Annotated[tuple[Positive, ...], pydantic.Field(min_length=1)] = (1.0,)
    """Factors of the size at which each image, or window, is seen. The class probabilities of several are added up."""
    flip: bool = False
    """Add the class probabilities of the mirrored image."""
    window: SlidingWindow | None = None
    """Sliding window over images that are larger than it; "none" predicts every image whole."""

    @pydantic.model_validator(mode="after")
    def _one_side(self) -> "SemanticPredict":
        if self.side is not None and self.shorter_side is not None:
            raise ValueError("side and shorter_side both say the image's size: give one of them")
        return self


@config
class Ohem:
    """Online hard example mining, a loss on hard pixels only (docs/methods/unimatch.md#ohem)."""

    threshold: Share = 0.7
    """Probability of the true class up to which a pixel is hard."""
    min_kept: CountOrZero = 200_000
    """Number of a group's known pixels, the hardest, that always count."""
    group: Count = 2
    """Number of consecutive labeled images among which the hardest pixels are chosen. The default is the batch of one
    GPU in the papers; a fixed number keeps the loss independent of the number of workers."""


@config
class CrossEntropy:
    """Cross-entropy on labels."""

    label_smoothing: ShareBelowOne = 0.0
    """Share of the target that is spread over all classes."""
    ohem: Ohem | None = None
    """Online hard example mining; "none" counts all pixels."""


@config
class SemanticStudentConfig(StudentSettings):
    """Settings that all semantic students share."""

    align_corners: ClassVar[bool] = False
    """Whether logits are resized with aligned corners, as the student's published code has it."""
    background: bool = True
    """Treatment of pixels that no mask of the labels covers. true: they are the first class, "background". false: they
    are unknown, as in data whose classes leave no pixel out (Cityscapes). Label maps that name a background class say
    themselves which pixels are unknown."""
    loss: CrossEntropy = CrossEntropy()
    """Loss on labels."""
    predict: SemanticPredict = SemanticPredict()
    """Settings that turn the student's output into a label map."""


@config
class Fpn(SemanticStudentConfig):
    """A feature pyramid over any backbone of the instance students. With the nano backbone it trains on two CPU
    cores.
    """

    network: ClassVar[str] = "segray.models.fpn:FpnStudent"
    kind: Literal["fpn"] = "fpn"
    backbone: Backbone = NanoBackbone()
    """Backbone that turns an image into features."""
    width: Count = 64
    """Number of channels of the decoder."""


@config
class DeepLab(SemanticStudentConfig):
    """DeepLabV3+ over an encoder of timm, UniMatch V1's student (docs/methods/unimatch.md#v1-network)."""

    align_corners: ClassVar[bool] = True
    multiple: ClassVar[int] = 1
    """It takes images of any size."""
    network: ClassVar[str] = "segray.models.deeplab:DeepLabStudent"
    kind: Literal["deeplab"] = "deeplab"
    encoder: str = "resnet101s"
    """Name of a timm encoder that can be dilated to stride 16. The papers use resnet101s and resnet50s, whose stem has
    64, 64 and 128 channels, and xception65 on COCO."""
    weights: str | None = None
    """Local file or Hub id of the encoder's weights; "none" starts from random ones."""
    norm: Norm = "auto"
    """Norms in encoder and decoder. auto: frozen batch norm in an encoder with weights, group norm elsewhere.
    synchronised: trainable batch norm over the images of all workers, as in the papers; with it, losses depend on
    `accumulate`."""
    width: Count = 256
    """Number of channels of the decoder."""
    atrous_rates: tuple[int, int, int] = (6, 12, 18)
    """Dilations of the pyramid pooling. The defaults are UniMatch's."""

    @pydantic.model_validator(mode="after")
    def _frozen_norms_stay(self) -> "DeepLab":
        if self.frozen_encoder and self.norm == "synchronised":
            raise ValueError('a frozen encoder keeps its norms: leave out norm = "synchronised"')
        return self


@config
class Dpt(SemanticStudentConfig):
    """DPT over DINOv2 by transformers, UniMatch V2's student (docs/methods/unimatch.md#v2-network)."""

    align_corners: ClassVar[bool] = True
    multiple: ClassVar[int] = 14
    """Side of DINOv2's patches in pixels."""
    network: ClassVar[str] = "segray.models.dpt:DptStudent"
    kind: Literal["dpt"] = "dpt"
    size: Literal["tiny", "small", "base", "large"] = "small"
    """Size of DINOv2; tiny is not a published one, but three blocks for tests and CPUs."""
    weights: str | None = None
    """Local folder or Hub id of a DINOv2, such as facebook/dinov2-small; "none" starts from random weights."""
    revision: str | None = None
    """Commit or tag of a Hub model; "none" takes the latest."""


@config
class DptDinov3(SemanticStudentConfig):
    """DPT over DINOv3 by transformers. Its licence is Meta's own: read it before use."""

    align_corners: ClassVar[bool] = True
    multiple: ClassVar[int] = 16
    """Side of DINOv3's patches in pixels."""
    network: ClassVar[str] = "segray.models.dpt:DptStudent"
    kind: Literal["dpt-dinov3"] = "dpt-dinov3"
    size: Literal["tiny", "small", "base", "large"] = "small"
    """Size of DINOv3; tiny is not a published one, but four blocks for tests and CPUs."""
    weights: str | None = None
    """Local folder or Hub id of a DINOv3, such as facebook/dinov3-vits16-pretrain-lvd1689m; "none" starts from random
    weights."""
    revision: str | None = None
    """Commit or tag of a Hub model; "none" takes the latest."""


@config
class SegFormer(SemanticStudentConfig):
    """SegFormer by transformers. Check the licence of the weights: those of its authors exclude commercial use."""

    network: ClassVar[str] = "segray.models.segformer:SegFormerStudent"
    kind: Literal["segformer"] = "segformer"
    size: Literal["b0", "b1", "b2", "b3", "b4", "b5"] = "b0"
    """Size of the encoder."""
    weights: str | None = None
    """Local folder or Hub id of an encoder of this size; "none" starts from random weights."""
    revision: str | None = None
    """Commit or tag of a Hub model; "none" takes the latest."""


@config
class PackagedStudent:
    """A trained student, and its settings for prediction."""

    uri: Uri
    """Folder of a student as a run leaves it (`best`, `last`), or the `promoted/NAME.json` that `segray promote` writes
    beside the runs."""
    network: NetworkName = "student"
    """Network to use: what `uri` names, or the teacher that is kept beside that student
    (docs/methods/README.md#teachers)."""
    predict: dict[str, Any] | None = None
    """Table that replaces the `predict` table with which the student was trained, checked once the student is read;
    "none" keeps the student's own."""
    device: Device = "auto"
    """Device on which the student computes; auto takes CUDA where present."""
