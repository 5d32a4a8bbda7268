"""Mask2Former (arXiv 2112.01527) as a student: transformers' pixel and query decoders over any of our backbones.

Knows the network. Its loss is `segray.losses.set_loss`, its predictions are made by `segray.models.instance`.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerPreTrainedModel,
    Mask2FormerTransformerModule,
)
from typing_extensions import override

from segray.config.students import Mask2Former
from segray.models.backbones import backbone_hash, build_backbone
from segray.models.instance import InstanceStudent
from segray.models.student import Perturb, QueryOutput


class Mask2FormerStudent(InstanceStudent):
    """The student of GuidedDistillation and S4M (docs/methods/mask2former.md#network)."""

    def __init__(self, config: Mask2Former, classes: tuple[str, ...], *, load: bool) -> None:
        super().__init__(config, classes)
        self.backbone = build_backbone(config.backbone, load=load)
        self.decoders = _Decoders(_settings(config), self.backbone.channels, len(classes))

    @classmethod
    @override
    def pretrained_hash(cls, settings: Mask2Former) -> str | None:
        return backbone_hash(settings.backbone)

    def forward(self, images: Tensor, perturb: Perturb | None = None) -> QueryOutput:
        """See `Student.forward`; one supervised output of the queries as they are learned, one per decoder layer."""
        features = self.backbone(self.normalised(images))
        output: QueryOutput = self.decoders(perturb(features) if perturb else features)
        return output

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """See `Student`."""
        return self.backbone.pretrained_parameters()


class _Decoders(Mask2FormerPreTrainedModel):  # type: ignore[no-untyped-call]  # transformers types half of itself
    """Everything after the backbone, composed here so that the backbone need not be one that transformers knows."""

    def __init__(self, config: Mask2FormerConfig, channels: tuple[int, ...], num_classes: int) -> None:
        super().__init__(config)
        self.pixels = Mask2FormerPixelDecoder(config, feature_channels=list(channels))
        self.queries = Mask2FormerTransformerModule(config.feature_size, config)
        self.classifier = nn.Linear(config.hidden_dim, num_classes + 1)
        # Children first: what a whole layer says of its weights is to stand; `post_init` does it the other way round.
        self.apply(self._init_weights)

    def forward(self, features: tuple[Tensor, ...]) -> QueryOutput:
        # Sampling positions need more than half precision (docs/methods/mask2former.md#network).
        with torch.autocast(features[0].device.type, enabled=False):
            pixels = self.pixels([one.float() for one in features])
        decoded = self.queries(pixels.multi_scale_features, pixels.mask_features)
        return QueryOutput(
            class_logits=tuple(self.classifier(one.transpose(0, 1)) for one in decoded.intermediate_hidden_states),
            mask_logits=tuple(decoded.masks_queries_logits),
            mask_features=pixels.mask_features,
        )


def _settings(config: Mask2Former) -> Mask2FormerConfig:
    """Our config in transformers' names; its count of decoder layers includes the learned queries."""
    settings: dict[str, Any] = {
        "feature_size": config.hidden_dim,
        "hidden_dim": config.hidden_dim,
        "mask_feature_size": config.mask_feature_size,
        "encoder_layers": config.pixel_decoder_layers,
        "encoder_feedforward_dim": config.pixel_decoder_feedforward,
        "decoder_layers": config.decoder_layers + 1,
        "dim_feedforward": config.decoder_feedforward,
        "num_attention_heads": config.num_heads,
        "num_queries": config.num_queries,
        "dropout": 0.0,
    }
    return Mask2FormerConfig(**settings)
