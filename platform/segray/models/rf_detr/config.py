"""Settings of RF-DETR."""

from typing import ClassVar, Literal

import pydantic

from segray.config.base import config
from segray.config.students import InstanceStudentConfig
from segray.config.types import Count, Positive

PATCH = 14
"""Side of a patch of DINOv2, in pixels."""


@config
class RfDetr(InstanceStudentConfig):
    """RF-DETR for instances by transformers: DINOv2, one map at the stride of its patches, queries that start from the
    best places of that map, boxes beside masks (docs/methods/rf-detr.md). Training needs `num_queries` patches or more
    on the canvas.
    """

    multiple: ClassVar[int] = PATCH
    """Side of DINOv2's patches in pixels."""
    network: ClassVar[str] = "segray.models.rf_detr.network:RfDetrStudent"
    kind: Literal["rf-detr"] = "rf-detr"
    size: Literal["tiny", "small", "base"] = "small"
    """Size of DINOv2; published models have the small one. tiny is four blocks for tests and CPUs."""
    weights: str | None = None
    """Local folder or Hub id of a DINOv2 of that size, such as facebook/dinov2-small; "none" starts from random
    weights."""
    revision: str | None = None
    """Commit or tag of a Hub model; "none" takes the latest."""
    hidden_dim: Count = 256
    """Width of the decoder."""
    num_heads: Count = 8
    """Number of attention heads of the decoder; its attention to the image has twice as many."""
    decoder_layers: Count = 3
    """Number of decoder layers; there is one more supervised output, that of the places from which queries start."""
    decoder_feedforward: Count = 2048
    """Width of the feed-forward networks in the decoder."""
    num_groups: Count = 13
    """Number of groups of queries in training, each matched with all objects (Group DETR); one of them predicts."""
    box_weight: Positive = 5.0
    """Weight of the L1 distance of boxes."""
    giou_weight: Positive = 2.0
    """Weight of the generalised IoU of boxes."""

    @pydantic.model_validator(mode="after")
    def _queries_have_places(self) -> "RfDetr":
        cells = (-(-self.predict.side // PATCH)) ** 2
        if cells < self.num_queries:
            raise ValueError(
                f"predict.side {self.predict.side} has {cells} patches for {self.num_queries} queries to start from:"
                " raise it, or lower num_queries"
            )
        if self.hidden_dim % (2 * self.num_heads):
            raise ValueError(f"hidden_dim {self.hidden_dim} must be a multiple of twice num_heads {self.num_heads}")
        return self
