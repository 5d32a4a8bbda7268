"""How each family of SAM in transformers goes from an image to predicted IoUs, and from those to masks.

Knows where the families differ: what the encoder leaves behind, the decoder's output tokens, which mask tokens answer,
how features become logits. Does not know loading, image sizes or the Sam protocol's prompts (see `model`).

Shapes: B images, P prompts, T mask tokens, C channels, (h, w) the embedding's grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from segray.sam.protocol import PADDING


@dataclass(frozen=True, kw_only=True)
class Features:
    """What an encoder made of B images."""

    image: Tensor
    """(B, C, h, w), ready for the decoder: what it adds to every prompt without a mask is in it."""
    fine: tuple[Tensor, ...] = ()
    """Larger maps, each (B, ...), that only mask making reads."""


@dataclass(frozen=True, kw_only=True)
class Heads:
    """What the decoder's transformer made of P prompts."""

    mask_tokens: Tensor
    """(P, T, C)"""
    image_tokens: Tensor
    """(P, h * w, C)"""
    iou: Tensor
    """(P, T) float32, predicted IoU of every mask token's mask."""
    image_index: Tensor
    """(P,) the image of each prompt, among those of `fine`."""
    fine: tuple[Tensor, ...]
    """The features' own, one map per image."""

    def __getitem__(self, prompts: Tensor) -> "Heads":
        return Heads(
            mask_tokens=self.mask_tokens[prompts],
            image_tokens=self.image_tokens[prompts],
            iou=self.iou[prompts],
            image_index=self.image_index[prompts],
            fine=self.fine,
        )

    @staticmethod
    def cat(parts: Sequence["Heads"]) -> "Heads":
        """Prompts of all parts over the same images, one after another."""
        return Heads(
            mask_tokens=torch.cat([part.mask_tokens for part in parts]),
            image_tokens=torch.cat([part.image_tokens for part in parts]),
            iou=torch.cat([part.iou for part in parts]),
            image_index=torch.cat([part.image_index for part in parts]),
            fine=parts[0].fine,
        )


class Family:
    """SAM (arXiv 2304.02643), and what the others share with it."""

    model_class: ClassVar[str] = "SamModel"
    processor_class: ClassVar[str] = "SamImageProcessor"
    renamed: ClassVar[dict[str, str]] = {}
    """Patterns of tensor names in larger checkpoints that hold the model, to its own names."""
    padded: ClassVar[bool] = True
    """Whether an image keeps its shape in the square input, the rest being padding, or is stretched to it."""
    pads_boxes: ClassVar[bool] = False
    """Whether a prompt with a box gets the not-a-point token that every other prompt gets."""
    iou_token: ClassVar[int] = 0
    """Where the IoU token stands; the mask tokens follow it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.decoder = model.mask_decoder
        self.prompts = model.prompt_encoder
        self.no_mask = self.prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)

    def encode(self, pixels: Tensor) -> Features:
        """Normalised pixels (B, 3, H, W) to features."""
        return Features(image=self.model.get_image_embeddings(pixels) + self.no_mask)

    def prompt_tokens(self, points_xy: Tensor, labels: Tensor) -> Tensor:
        """Tokens (P, K, C) of points (P, K, 2) in pixels of the input."""
        size = self.prompts.input_image_size
        placed = self.prompts.shared_embedding(points_xy[:, None] + 0.5, (size, size))[:, 0]
        typed = placed + self.point_types()[labels.clamp(min=0)]
        return torch.where((labels == PADDING)[..., None], self.prompts.not_a_point_embed.weight, typed)

    def point_types(self) -> Tensor:
        """What is added for background, foreground and a box's two corners, (4, C)."""
        return torch.cat([embedding.weight for embedding in self.prompts.point_embed])

    def heads(self, features: Features, image_index: Tensor, prompt_tokens: Tensor, position: Tensor) -> Heads:
        """Run the two-way transformer on prompts (P, K, C), each over its image; `position` is (1, C, h, w)."""
        outputs = self.output_tokens()
        tokens = torch.cat([outputs.expand(len(prompt_tokens), -1, -1), prompt_tokens], dim=1)
        queries, keys = self.decoder.transformer(
            point_embeddings=tokens[:, None].to(outputs.dtype),
            image_embeddings=features.image[image_index],
            image_positional_embeddings=position.expand(len(tokens), -1, -1, -1),
            attention_similarity=None,
        )
        queries = queries[:, 0]
        first = self.iou_token + 1
        return Heads(
            mask_tokens=queries[:, first : len(outputs)],
            image_tokens=keys[:, 0],
            iou=self.decoder.iou_prediction_head(queries[:, self.iou_token]).float(),
            image_index=image_index,
            fine=features.fine,
        )

    def output_tokens(self) -> Tensor:
        """The tokens that answers are read from, (tokens, C)."""
        return torch.cat([self.decoder.iou_token.weight, self.decoder.mask_tokens.weight])

    def choose(self, heads: Heads, *, multimask: bool) -> Tensor:
        """Which mask tokens answer, (P, M): all but the first, or the first alone."""
        num_prompts, num_tokens = heads.iou.shape
        chosen = torch.arange(1, num_tokens) if multimask else torch.zeros(1, dtype=torch.int64)
        return chosen.to(heads.iou.device).expand(num_prompts, -1)

    def masks(self, heads: Heads) -> Tensor:
        """Logits (P, T, 4 h, 4 w) of every mask token."""
        return self._dot(self._hypernetworks(heads.mask_tokens), self._upscale(heads))

    def _upscale(self, heads: Heads) -> Tensor:
        """(P, C / 8, 4 h, 4 w)"""
        decoder = self.decoder
        half = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(self._image_map(heads))))
        upscaled: Tensor = decoder.activation(decoder.upscale_conv2(half))
        return upscaled

    def _image_map(self, heads: Heads) -> Tensor:
        """(P, C, h, w)"""
        height, width = self.prompts.image_embedding_size
        return heads.image_tokens.mT.reshape(-1, heads.image_tokens.shape[2], height, width)

    def _hypernetworks(self, mask_tokens: Tensor) -> Tensor:
        """One filter per mask token, (P, T, C / 8)."""
        networks = self.decoder.output_hypernetworks_mlps
        return torch.stack([network(mask_tokens[:, index]) for index, network in enumerate(networks)], dim=1)

    @staticmethod
    def _dot(filters: Tensor, upscaled: Tensor) -> Tensor:
        return (filters @ upscaled.flatten(2)).reshape(*filters.shape[:2], *upscaled.shape[-2:])


class HqFamily(Family):
    """SAM-HQ (arXiv 2306.01567): one more token whose mask, from early encoder features, is added to every other.

    Masks are made from the image tokens after the transformer, as in the paper. transformers 5.23 itself takes those
    from before it, rows and columns exchanged (older releases did not), so its masks differ from these.
    """

    model_class = "SamHQModel"

    def encode(self, pixels: Tensor) -> Features:
        """As in SAM; the fine map joins early and late features, (B, C / 8, 4 h, 4 w)."""
        image, intermediate = self.model.get_image_embeddings(pixels)
        decoder = self.decoder
        late = decoder.encoder_conv2(decoder.activation(decoder.encoder_norm(decoder.encoder_conv1(image))))
        compressed = decoder.compress_vit_conv1(intermediate[0].permute(0, 3, 1, 2).contiguous())
        early = decoder.compress_vit_conv2(decoder.activation(decoder.compress_vit_norm(compressed)))
        return Features(image=image + self.no_mask, fine=(late + early,))

    def output_tokens(self) -> Tensor:
        """As in SAM, the additional token last."""
        return torch.cat([super().output_tokens(), self.decoder.hq_token.weight])

    def choose(self, heads: Heads, *, multimask: bool) -> Tensor:
        """As in SAM, but several masks come best first."""
        if not multimask:
            return super().choose(heads, multimask=False)
        return heads.iou[:, 1:].sort(dim=1, descending=True).indices + 1

    def masks(self, heads: Heads) -> Tensor:
        """As in SAM, the additional mask added to each."""
        decoder = self.decoder
        upscaled = self._upscale(heads)
        detail = decoder.activation(decoder.mask_norm(decoder.mask_conv1(upscaled)))
        detail = decoder.mask_conv2(detail) + heads.fine[0][heads.image_index]
        plain = self._dot(self._hypernetworks(heads.mask_tokens), upscaled)
        return plain + self._dot(decoder.hq_mask_mlp(heads.mask_tokens[:, -1:]), detail)


class Sam2Family(Family):
    """SAM 2 and 2.1 (arXiv 2408.00714): larger features, an object token, a single mask that must be stable."""

    model_class = "Sam2Model"
    processor_class = "Sam2ImageProcessor"
    padded = False
    pads_boxes = True
    iou_token = 1

    def encode(self, pixels: Tensor) -> Features:
        """As in SAM; the fine maps are (B, C / 8, 4 h, 4 w) and (B, C / 4, 2 h, 2 w)."""
        quarter, eighth, image = self.model.get_image_embeddings(pixels)
        return Features(image=image + self.no_mask, fine=(quarter, eighth))

    def point_types(self) -> Tensor:
        """As in SAM."""
        types: Tensor = self.prompts.point_embed.weight
        return types

    def output_tokens(self) -> Tensor:
        """As in SAM, the object token first."""
        return torch.cat([self.decoder.obj_score_token.weight, super().output_tokens()])

    def choose(self, heads: Heads, *, multimask: bool) -> Tensor:
        """As in SAM, but where the single mask is not stable, the best of the others answers.

        Stability is of masks, so this one choice has to make them.
        """
        single = super().choose(heads, multimask=multimask)
        if multimask or not self.decoder.dynamic_multimask_via_stability:
            return single
        masks = self.masks(heads)[:, :1].float()
        stability = self.decoder._get_stability_scores(masks)
        best = heads.iou[:, 1:].argmax(dim=1, keepdim=True) + 1
        return torch.where(stability >= self.decoder.dynamic_multimask_stability_thresh, single, best)

    def _upscale(self, heads: Heads) -> Tensor:
        decoder = self.decoder
        quarter, eighth = (level[heads.image_index] for level in heads.fine)
        half = decoder.upscale_conv1(self._image_map(heads)) + eighth
        half = decoder.activation(decoder.upscale_layer_norm(half))
        upscaled: Tensor = decoder.activation(decoder.upscale_conv2(half) + quarter)
        return upscaled


class Sam3Family(Sam2Family):
    """SAM 3's promptable tracker (arXiv 2511.16719), whose decoder is SAM 2's."""

    model_class = "Sam3TrackerModel"
    renamed: ClassVar[dict[str, str]] = {
        r"^detector_model\.vision_encoder\.backbone\.": "vision_encoder.backbone.",
        r"^tracker_neck\.": "vision_encoder.neck.",
        r"^tracker_model\.(.+)": r"\1",
    }
    processor_class = "Sam3ImageProcessor"


FAMILIES: dict[str, type[Family]] = {
    "sam": Family,
    "sam_hq": HqFamily,
    "sam2": Sam2Family,
    "sam2_video": Sam2Family,
    "sam3_tracker": Sam3Family,
    "sam3_tracker_video": Sam3Family,
    "sam3_video": Sam3Family,
}
"""By the `model_type` of a model's config.json. Video models are read for their image part."""
