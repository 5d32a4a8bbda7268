"""Settings of models that say which class a region has: CLIP with its vocabulary, and classifiers of tags."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

import pydantic

from segray.assets import CLIP_TEMPLATES
from segray.config.base import config
from segray.config.types import Count, Name, NonNegative, Positive, Share


def _named_templates(given: Any) -> Any:
    """Return the prompts that a name stands for; anything else as it is."""
    return tuple(CLIP_TEMPLATES.read_text().splitlines()) if given == "clip-80" else given


@config
class Vocabulary:
    """Names and prompts of the classes (docs/methods/zero-shot.md#vocabulary)."""

    classes: Annotated[tuple[Name, ...], pydantic.Field(min_length=1)]
    """Class names in the order of their ids, without the background."""
    synonyms: Mapping[str, tuple[Name, ...]] = field(default_factory=dict)
    """Names to compare with in place of a class's own, by class. The most similar of several counts."""
    background: tuple[Name, ...] = ()
    """Names that describe the background, such as sky, grass, road or wall."""
    templates: Annotated[tuple[Name, ...], pydantic.BeforeValidator(_named_templates), pydantic.Field(min_length=1)] = (
        "a photo of a {}.",
    )
    """Prompts with {} in place of the name. The mean of their embeddings counts. "clip-80" takes the 80 prompts of
    CLIP's authors for ImageNet."""

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
    """Rule that gives a mask its class. The paper's own is unpublished (docs/methods/zero-shot.md#matching)."""

    measure: Literal["cosine", "softmax"] = "softmax"
    """Similarity that is compared with the threshold and the margin: the cosine, or the softmax over all classes of 100
    times the cosine."""
    margin: Share = 0.0
    """Smallest lead over the second-best class, in the units of `measure`; a mask with a smaller lead is unknown. 0
    accepts every lead."""
    min_tokens: NonNegative = 1.0
    """Smallest area of a mask in tokens of the feature map; a smaller mask is unknown, because its cosine is
    unreliable."""


Overlaps = Literal["smallest", "best"]


@config
class HfClipConfig:
    """A CLIP model of transformers (docs/methods/zero-shot.md#gem)."""

    kind: Literal["hf"] = "hf"
    model: Name
    """Hub id or local folder of the model. GEM's default is openai/clip-vit-base-patch16."""
    revision: str | None = None
    """Commit or tag of a Hub model; "none" takes the latest."""
    side: Annotated[int, pydantic.Field(ge=16)] = 448
    """Side in pixels of the square to which images are resized, a multiple of the model's patch size."""


@config
class NanoClipConfig:
    """The clip-nano model that ships with segray. It knows the words of the procedural worlds' captions and no
    others.
    """

    kind: Literal["nano"] = "nano"
    weights: str | None = None
    """Path or URI of a checkpoint (.safetensors); "none" takes the shipped one."""


ClipModel = Annotated[HfClipConfig | NanoClipConfig, pydantic.Field(discriminator="kind")]
"""A CLIP model, by `kind`."""


@config
class NanoEncoderConfig:
    """The convolutional trunk of the nano models, pretrained on family A of the procedural worlds."""

    kind: Literal["nano"] = "nano"


@config
class TimmEncoderConfig:
    """An encoder of timm, by name."""

    kind: Literal["timm"] = "timm"
    name: Name = "resnet50"
    """Name of a timm model that returns feature maps."""
    weights: str | None = None
    """Path or URI of the weights (.safetensors or .pth). "hub" downloads timm's own, "none" starts from random
    weights."""


@config
class TaggerConfig:
    """A multi-label classifier and its training on image-level tags (docs/methods/sepl.md#class-activation-maps)."""

    encoder: Annotated[NanoEncoderConfig | TimmEncoderConfig, pydantic.Field(discriminator="kind")] = (
        NanoEncoderConfig()
    )
    """Encoder that turns an image into features."""
    side: Annotated[int, pydantic.Field(ge=32, multiple_of=32)] = 128
    """Side in pixels of the square to which images are resized; TransCAM crops 512."""
    steps: Count = 300
    """Number of training steps."""
    batch: Count = 16
    """Number of images in a training step."""
    learning_rate: Positive = 5e-4
    """Peak learning rate of AdamW; TransCAM uses 5e-5."""
    min_crop: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.6
    """Smallest side of a training crop, as a share of the image's side."""
    seed: int = 0
    """Random seed of the initial weights and of all training randomness."""
