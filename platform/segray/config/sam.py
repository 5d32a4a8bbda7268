"""Settings of Segment Anything models, of their mask generation, and of tiles."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from segray.config.base import SettingError, config, plain, refuse_without_effect
from segray.config.types import Count, CountOrZero, Device, Positive, Precision, Share, ShareBelowOne


@config
class SamSettings:
    """Settings that every SAM backend has; a backend adds its own, and a line to `config.registry`."""

    backend: ClassVar[str]
    """Module with `build(settings) -> Sam` and `describe(settings) -> SamCard` (see `segray.sam.build`)."""
    locations: ClassVar[frozenset[str]] = frozenset()
    """Fields that only say where the weights are; the weights' hash says what they are."""
    kind: str
    """The backend."""
    device: Device = "auto"
    """Where it runs; auto takes CUDA where present."""
    precision: Precision = "float32"
    """Autocast type; the half types need CUDA."""
    compile: bool = False
    """`torch.compile` the encoder and decoder; needs CUDA."""

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
    """A model of the segment-anything package, or the nano one that segray ships."""

    backend: ClassVar[str] = "segray.sam.backends.segment_anything.build"
    locations: ClassVar[frozenset[str]] = frozenset({"weights"})
    kind: Literal["original"] = "original"
    model: Literal["nano", "vit_b", "vit_l", "vit_h"] = "nano"
    """The architecture."""
    weights: str | None = None
    """Path or URI of a checkpoint (.safetensors, or .pth read as plain tensors); the nano model ships its own."""

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
    """A model of transformers: SAM, SAM-HQ, SAM 2, SAM 2.1, SAM 3's tracker."""

    backend: ClassVar[str] = "segray.sam.backends.transformers.build"
    locations: ClassVar[frozenset[str]] = frozenset({"model", "revision"})
    kind: Literal["hf"] = "hf"
    model: Annotated[str, pydantic.StringConstraints(min_length=1)]
    """Hub id or local folder."""
    revision: str | None = None
    """Commit or tag of a Hub model."""

    @property
    def display_name(self) -> str:
        """Return the Hub id or folder."""
        return self.model


@config
class MaskGeneration:
    """Automatic mask generation; names and defaults of segment-anything's SamAutomaticMaskGenerator."""

    mode: Literal["exact", "fast"] = "exact"
    """exact: the reference's masks. fast: fewer prompts for nearly the same masks."""
    points_per_side: Annotated[int, pydantic.Field(ge=1, le=256)] = 32
    """Grid points along each side of the image."""
    pred_iou_thresh: Share = 0.88
    """Keep masks whose predicted IoU is above; 0 switches the filter off."""
    stability_score_thresh: Share = 0.95
    """Keep masks whose stability is at least this; 0 switches the filter off."""
    stability_score_offset: Positive = 1.0
    """Logit shift by which stability is measured."""
    box_nms_thresh: Share = 0.7
    """Box IoU above which the worse of two masks of one crop goes."""
    crop_n_layers: Annotated[int, pydantic.Field(ge=0, le=4)] = 0
    """Further layers of crops; layer i has 4**i."""
    crop_nms_thresh: Share = 0.7
    """Box IoU above which the worse of two masks of different crops goes."""
    crop_overlap_ratio: ShareBelowOne = 512 / 1500
    """Overlap of neighbouring crops as a share of the image's short side, in the first layer."""
    crop_n_points_downscale_factor: Count = 1
    """In layer i the grid has points_per_side / factor**i points a side."""
    min_mask_region_area: CountOrZero = 0
    """Holes and islands smaller than this many pixels are mended; 0 leaves masks as they are."""

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
    """Label large images tile by tile, in bounded memory."""

    size: Annotated[int, pydantic.Field(ge=64)] = 1024
    """Side of a tile in pixels; images no larger than one tile are labeled whole."""
    overlap: CountOrZero = 128
    """Pixels shared by neighbouring tiles; objects up to this size are found whole in one of them."""
    merge: Literal["nms", "union"] = "union"
    """What becomes of masks cut by a tile's border. nms: dropped, the whole copy in the next tile stays; union: parts
    that agree within the overlap are joined."""
    merge_iou: Share = 0.5
    """Agreement within the overlap from which two parts are one object (union)."""

    @pydantic.model_validator(mode="after")
    def _overlap_fits(self) -> "Tiles":
        if self.overlap * 2 >= self.size:
            raise ValueError(f"overlap {self.overlap} must be under half of size {self.size}")
        if self.merge == "nms":
            refuse_without_effect(self, ["merge_iou"], 'merge = "nms" joins no parts')
        return self
