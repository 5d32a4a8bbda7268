"""Settings of what says which class a region has: CLIP and its words, classifiers of tags."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal

import pydantic

from segray.config.base import config
from segray.config.types import Count, Name, NonNegative, Positive, Share


@config
class Vocabulary:
    """Names and prompts of classes (docs/methods/zero-shot.md#vocabulary)."""

    classes: Annotated[tuple[Name, ...], pydantic.Field(min_length=1)]
    """Class names in the order of their ids; the background is none of them."""
    synonyms: Mapping[str, tuple[Name, ...]] = field(default_factory=dict)
    """What stands for a class in place of its name, by class; the nearest of several counts."""
    background: tuple[Name, ...] = ()
    """What stands for the background: sky, grass, road, wall, ..."""
    templates: Annotated[tuple[Name, ...], pydantic.Field(min_length=1)] = ("a photo of a {}.",)
    """Sentences with {} for a name; the mean of several counts (CLIP's own ensemble has 80)."""

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "Vocabulary":
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes {self.classes} name one twice")
        strange = [name for name in self.synonyms if name not in self.classes]
        if strange:
            raise ValueError(f"synonyms of {strange}, which are not among the classes {self.classes}")
        wrong = [template for template in self.templates if template.count("{}") != 1]
        if wrong:
            raise ValueError(f"templates {wrong} must hold {{}} once, for the name")
        return self


@config
class MatchRule:
    """The rule that gives a mask its class; the paper's own is unknown (docs/methods/zero-shot.md#matching)."""

    measure: Literal["cosine", "softmax"] = "softmax"
    """What is compared with threshold and margin: the cosine itself, or the softmax of a hundred times all classes'."""
    margin: Share = 0.0
    """Closer than this to the second class, a mask is unknown."""
    min_tokens: NonNegative = 1.0
    """A mask that covers fewer tokens of the map is unknown: its cosine is unreliable."""


Overlaps = Literal["smallest", "best"]


@config
class HfClipConfig:
    """A CLIP of transformers; GEM's default is openai/clip-vit-base-patch16 (docs/methods/zero-shot.md#gem)."""

    kind: Literal["hf"] = "hf"
    model: Name
    """Hub id or local folder."""
    revision: str | None = None
    """Commit or tag of a hub model."""
    side: Annotated[int, pydantic.Field(ge=16)] = 448
    """Images are resized to a square of this side in pixels, a multiple of the model's patch."""


@config
class NanoClipConfig:
    """clip-nano, which ships with segray: it knows the words of the procedural worlds' captions and no others."""

    kind: Literal["nano"] = "nano"
    weights: str | None = None
    """Path or URI of a checkpoint (.safetensors); none: the shipped one."""


ClipModel = Annotated[HfClipConfig | NanoClipConfig, pydantic.Field(discriminator="kind")]
"""What compares regions with words."""


@config
class NanoEncoderConfig:
    """The convolutional trunk of the nano models, which starts from what it learned on family A of the worlds."""

    kind: Literal["nano"] = "nano"


@config
class TimmEncoderConfig:
    """An encoder of timm by name."""

    kind: Literal["timm"] = "timm"
    name: Name = "resnet50"
    """As timm lists it; one that gives feature maps."""
    weights: str | None = None
    """Path or URI of its weights (.safetensors or .pth); "hub": timm's own, fetched; none: random."""


@config
class TaggerConfig:
    """A multi-label classifier and its training on image-level tags."""

    encoder: Annotated[NanoEncoderConfig | TimmEncoderConfig, pydantic.Field(discriminator="kind")] = (
        NanoEncoderConfig()
    )
    """What makes features of the image."""
    side: Annotated[int, pydantic.Field(ge=32, multiple_of=32)] = 128
    """Images are resized to a square of this side in pixels; TransCAM crops 512."""
    steps: Count = 300
    """Updates."""
    batch: Count = 16
    """Images of an update."""
    learning_rate: Positive = 5e-4
    """Peak of AdamW's; TransCAM 5e-5."""
    min_crop: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.6
    """Smallest share of an image's side that an update sees."""
    seed: int = 0
    """Of weights and of every draw."""
