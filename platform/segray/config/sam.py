"""Settings of Segment Anything models, of their mask generation, and of tiles."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from segray.config.base import SettingError, config, plain, refuse_without_effect
from segray.config.types import Count, CountOrZero, Device, NonNegative, Positive, Precision, Share, ShareBelowOne


@config
class SamSettings:
    """Settings that every SAM backend shares. A backend adds its own, and a line to `config.model_kinds`."""

    backend: ClassVar[str]
    """Module with `build(settings) -> Sam` and `describe(settings) -> SamCard` (see `segray.sam.build`)."""
    locations: ClassVar[frozenset[str]] = frozenset()
    """Fields that only say where the weights are; the weights' hash says what they are."""
    kind: str
    """Name of the backend."""
    device: Device = "auto"
    """Device on which the model runs; auto takes CUDA where present."""
    precision: Precision = "float32"
    """Type in which the model computes; bfloat16 and float16 need CUDA."""
    compile: bool = False
    """Compile the encoder and decoder by `torch.compile`; needs CUDA."""

    @property
    def display_name(self) -> str:
        """Return a short name for people."""
        return self.kind

    @property
    def content(self) -> Mapping[str, Any]:
        """Return the settings that decide the masks, beside the weights' hash; part of every fingerprint."""
        left_out = {"device", "compile", "precision", *self.locations}
        # Stores of before call it dtype: the same masks keep the same name.
        return {"dtype": self.precision} | {key: value for key, value in plain(self).items() if key not in left_out}


@config
class OriginalSamConfig(SamSettings):
    """A model of the segment-anything package, or the nano one that ships with segray."""

    backend: ClassVar[str] = "segray.sam.backends.segment_anything.build"
    locations: ClassVar[frozenset[str]] = frozenset({"weights"})
    kind: Literal["original"] = "original"
    model: Literal["nano", "vit_b", "vit_l", "vit_h"] = "nano"
    """Architecture of the model."""
    weights: str | None = None
    """Path or URI of a checkpoint (.safetensors, or .pth read as plain tensors). Needed for every model but nano, which
    ships with its own."""

    @property
    def display_name(self) -> str:
        """Return the architecture."""
        return self.model

    @pydantic.model_validator(mode="after")
    def _weights_given(self) -> "OriginalSamConfig":
        if self.model != "nano" and self.weights is None:
            raise SettingError("model", f"{self.model!r} needs weights: give the path or URI of its checkpoint")
        return self


@config
class HfSamConfig(SamSettings):
    """A model of transformers: SAM, SAM-HQ, SAM 2, SAM 2.1, or the tracker of SAM 3."""

    backend: ClassVar[str] = "segray.sam.backends.transformers.build"
    locations: ClassVar[frozenset[str]] = frozenset({"model", "revision"})
    kind: Literal["hf"] = "hf"
    model: Annotated[str, pydantic.StringConstraints(min_length=1)]
    """Hub id or local folder of the model."""
    revision: str | None = None
    """Commit or tag of a Hub model; "none" takes the latest."""

    @property
    def display_name(self) -> str:
        """Return the Hub id or folder."""
        return self.model


@config
class PromptedMasksSettings:
    """Settings of masks from boxes and points: how prompts are asked, and which masks are doubted. In the place of a
    doubted mask comes the object's box, marked for review.
    """

    multimask: bool = False
    """Decode three masks for each prompt and take the one with the best predicted IoU. It helps with single points;
    a box is rarely ambiguous."""
    num_moved_boxes: CountOrZero = 0
    """Number of further prompts for each box, with sides moved at random; the mask with the best predicted IoU wins."""
    box_jitter: Share = 0.1
    """Largest move of a side, as a share of the box's width or height."""
    min_predicted_iou: Share = 0.5
    """Smallest predicted IoU of a mask that is not doubted; 0 doubts none."""
    min_stability: Share = 0.5
    """Smallest stability score of a mask that is not doubted; 0 doubts none."""
    stability_score_offset: NonNegative = 1.0
    """Distance of the two thresholds, in logits, whose masks the stability score compares."""
    min_box_agreement: Share = 0.5
    """Smallest IoU between the prompt's box and the box of the mask that is not doubted; 0 doubts none."""
    min_mask_region_area: CountOrZero = 0
    """Fill holes and remove specks of fewer pixels; 0 leaves masks as they are."""

    @pydantic.model_validator(mode="after")
    def _jitter_is_drawn(self) -> "PromptedMasksSettings":
        if not self.num_moved_boxes:
            refuse_without_effect(self, ["box_jitter"], "num_moved_boxes = 0 moves no boxes")
        return self


@config
class MaskGeneration:
    """Settings of automatic mask generation; names and defaults are those of segment-anything's
    `SamAutomaticMaskGenerator`.
    """

    mode: Literal["exact", "fast"] = "exact"
    """Algorithm of mask generation. exact: the masks of the reference implementation. fast: nearly the same masks from
    fewer prompts."""
    points_per_side: Annotated[int, pydantic.Field(ge=1, le=256)] = 32
    """Number of grid points along each side of the image."""
    pred_iou_thresh: Share = 0.88
    """Predicted IoU that a mask must exceed to be kept; 0 switches the filter off."""
    stability_score_thresh: Share = 0.95
    """Smallest stability score of a mask that is kept; 0 switches the filter off."""
    stability_score_offset: Positive = 1.0
    """Shift of the mask threshold, in logits, over which the stability score is measured."""
    box_nms_thresh: Share = 0.7
    """Box IoU above which the worse of two masks of the same crop is dropped."""
    crop_n_layers: Annotated[int, pydantic.Field(ge=0, le=4)] = 0
    """Number of additional layers of crops; layer i has 4**i crops."""
    crop_nms_thresh: Share = 0.7
    """Box IoU above which the worse of two masks of different crops is dropped."""
    crop_overlap_ratio: ShareBelowOne = 512 / 1500
    """Overlap of neighbouring crops in the first layer, as a share of the image's short side."""
    crop_n_points_downscale_factor: Count = 1
    """Factor by which the grid thins out: layer i has points_per_side / factor**i points along each side."""
    min_mask_region_area: CountOrZero = 0
    """Area in pixels below which holes are filled and islands removed; 0 leaves masks unchanged."""

    @pydantic.model_validator(mode="after")
    def _points_left(self) -> "MaskGeneration":
        fewest = self.points_per_side // self.crop_n_points_downscale_factor**self.crop_n_layers
        if fewest < 1:
            raise ValueError(
                f"points_per_side {self.points_per_side} downscaled by {self.crop_n_points_downscale_factor} over"
                f" {self.crop_n_layers} crop layers leaves no point: raise points_per_side or lower the factor"
            )
        return self


@config
class Tiles:
    """Settings for processing large images tile by tile, in bounded memory."""

    size: Annotated[int, pydantic.Field(ge=64)] = 1024
    """Side of a tile in pixels; images no larger than one tile are processed whole."""
    overlap: CountOrZero = 128
    """Number of pixels that neighbouring tiles share, less than half of `size`. Objects up to this size lie whole in at
    least one tile."""
    merge: Literal["nms", "union"] = "union"
    """Treatment of masks cut by the border of a tile. nms: they are dropped, and the whole copy in the next tile stays.
    union: parts that agree within the overlap are joined."""
    merge_iou: Share = 0.5
    """Smallest IoU within the overlap at which two parts are joined into one object. It can only be given with merge =
    "union"."""

    @pydantic.model_validator(mode="after")
    def _overlap_fits(self) -> "Tiles":
        if self.overlap * 2 >= self.size:
            raise ValueError(f"overlap {self.overlap} must be under half of size {self.size}")
        if self.merge == "nms":
            refuse_without_effect(self, ["merge_iou"], 'merge = "nms" joins no parts')
        return self
