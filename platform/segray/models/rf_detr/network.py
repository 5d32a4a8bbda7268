"""RF-DETR (Robinson et al. 2025, arXiv 2511.09554) by transformers as a student of instances.

transformers' model is used as it is; of its forward pass only the last step is written here, since it keeps the masks
of all layers to itself. Its classes become ours by a logit of 0 for "no object". Attention is over the whole image: the
windows of transformers are right on square canvases only. Knows no training and no files.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Dinov2Backbone, RfDetrConfig, RfDetrForInstanceSegmentation
from transformers.models.rf_detr.configuration_rf_detr import RfDetrDinov2Config
from typing_extensions import override

from segray.models.backbones import build_net, local_hash
from segray.models.instance import InstanceStudent
from segray.models.rf_detr.config import PATCH, RfDetr
from segray.models.student import Perturb, QueryOutput
from segray.nets import dino

_READ: Final = {"tiny": (2, 4), "small": (3, 6, 9, 12), "base": (3, 6, 9, 12)}
"""Blocks of DINOv2 whose maps are read, counted from 1."""


class RfDetrStudent(InstanceStudent):
    """See `segray.models.student.Student`. The first supervised outputs are those of the places queries start from."""

    adaptable = ("class_embed.", "enc_out_class_embed.", "query_feat.", "reference_point_embed.")
    square_canvas = True
    settings: RfDetr

    def __init__(self, settings: RfDetr, classes: tuple[str, ...], *, load: bool) -> None:
        super().__init__(settings, classes)
        self.net: Any = RfDetrForInstanceSegmentation(_architecture(settings, len(classes)))
        if load and settings.weights:
            given = build_net(Dinov2Backbone, _dino(settings), settings, f"dinov2 {settings.size}", load=True)
            given.embeddings.mask_token = None
            self.backbone.load_state_dict(given.state_dict())
        share = 1 / settings.num_groups
        self.criterion = replace(
            self.criterion,
            class_weight=share * settings.class_weight,
            mask_weight=share * settings.mask_weight,
            dice_weight=share * settings.dice_weight,
            box_weight=share * settings.box_weight,
            giou_weight=share * settings.giou_weight,
        )

    @property
    def backbone(self) -> nn.Module:
        """DINOv2."""
        found: nn.Module = self.net.model.model.backbone.backbone
        return found

    @classmethod
    @override
    def pretrained_hash(cls, settings: RfDetr) -> str | None:
        return local_hash(settings.weights)

    @override
    def forward(self, images: Tensor, perturb: Perturb | None = None) -> QueryOutput:
        if perturb is not None:
            raise ValueError("features of an rf-detr cannot be perturbed: its encoder and decoder are one")
        height, width = images.shape[2:]
        cells = (height // PATCH) * (width // PATCH)
        if cells < self.settings.num_queries:
            raise ValueError(
                f"a canvas of {height} x {width} has {cells} patches for {self.settings.num_queries} queries: enlarge"
                " view.canvas_hw, or lower student.num_queries"
            )
        detector = self.net.model
        found = detector.model(self.normalised(images))
        logits, boxes = detector.predict_class_and_boxes(
            found.intermediate_hidden_states, found.intermediate_reference_points
        )
        features = self._at_stride_4(found.backbone_features, (height, width))
        masks = [self.net.get_mask_logits(found.enc_outputs_class, features)]
        for block, queries in zip(self.net.blocks, found.intermediate_hidden_states, strict=True):
            features = block(features)
            projected = self.net.spatial_features_proj(features)
            masks.append(self.net.get_mask_logits(queries, projected))
        return self._by_group(
            [detector.predict_encoder_class_logits(found.enc_outputs_class), *logits],
            masks,
            [found.enc_outputs_coord_logits, *boxes],
            projected,
        )

    @override
    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        return self.backbone.parameters()

    def _at_stride_4(self, features: Tensor, size_hw: tuple[int, int]) -> Tensor:
        ratio = self.net.downsample_ratio
        return F.interpolate(features, size=(size_hw[0] // ratio, size_hw[1] // ratio), mode="bilinear")

    def _by_group(
        self, logits: list[Tensor], masks: list[Tensor], boxes: list[Tensor], features: Tensor
    ) -> QueryOutput:
        """Each group's outputs as supervised outputs of their own, the group that predicts last."""
        number = self.settings.num_queries
        groups = range(logits[0].shape[1] // number)[::-1]
        parts = [slice(group * number, (group + 1) * number) for group in groups]
        return QueryOutput(
            class_logits=tuple(F.pad(one[:, part], (0, 1)) for part in parts for one in logits),
            mask_logits=tuple(one[:, part] for part in parts for one in masks),
            mask_features=features,
            boxes=tuple(one[:, part] for part in parts for one in boxes),
        )


def _dino(settings: RfDetr) -> Any:
    return dino.architecture("dinov2", settings.size, _READ[settings.size])


def _encoder(settings: RfDetr) -> RfDetrDinov2Config:
    """DINOv2 in RF-DETR's words: the same tensors."""
    like = _dino(settings)
    same = ("hidden_size", "num_hidden_layers", "num_attention_heads", "patch_size", "image_size", "out_features")
    sizes: dict[str, Any] = {name: getattr(like, name) for name in same}
    return RfDetrDinov2Config(**sizes, num_windows=1, use_mask_token=False)


def _architecture(settings: RfDetr, num_classes: int) -> RfDetrConfig:
    """Our settings in transformers' names. Dropout is off: everything random here is keyed."""
    sizes: dict[str, Any] = {
        "num_labels": num_classes,
        "num_queries": settings.num_queries,
        "d_model": settings.hidden_dim,
        "decoder_layers": settings.decoder_layers,
        "decoder_self_attention_heads": settings.num_heads,
        "decoder_cross_attention_heads": 2 * settings.num_heads,
        "decoder_ffn_dim": settings.decoder_feedforward,
        "group_detr": settings.num_groups,
        "dropout": 0.0,
    }
    return RfDetrConfig(backbone_config=_encoder(settings), **sizes)
