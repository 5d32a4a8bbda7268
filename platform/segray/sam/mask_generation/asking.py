"""Point prompts through a `Sam`: one mask each way the model reads a point, kept by predicted IoU before it is made."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segray.sam.mask_generation.grids import Points
from segray.sam.protocol import FOREGROUND, Embedding, Prompts, Sam


@dataclass(frozen=True, kw_only=True)
class Answers:
    """N masks that a batch of points gave."""

    logits: Tensor
    """(N, h, w) low resolution."""
    scores: npt.NDArray[np.float32]
    """(N,) predicted IoU."""
    points: npt.NDArray[np.int64]
    """(N,) which of the points."""

    def __len__(self) -> int:
        return len(self.scores)

    def filter(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "Answers":
        """The answers that `keep` names, by truth value or by index."""
        logits = self.logits[torch.from_numpy(keep).to(self.logits.device)]
        return Answers(logits=logits, scores=self.scores[keep], points=self.points[keep])


def ask(
    sam: Sam, embedding: Embedding, image_index: npt.NDArray[np.int64], points_xy: Points, pred_iou_thresh: float
) -> Answers:
    """Masks of points (P, 2), each in an image of the embedding, above the threshold (0: all)."""
    prompts = Prompts(
        image_index=torch.from_numpy(image_index),
        points_xy=torch.from_numpy(points_xy)[:, None],
        labels=torch.full((len(points_xy), 1), FOREGROUND),
    )
    decoded = sam.decode(embedding, prompts)
    scores = decoded.scores.flatten()
    keep = torch.nonzero(scores > pred_iou_thresh)[:, 0] if pred_iou_thresh > 0 else torch.arange(len(scores))
    logits = sam.logits(decoded, keep) if len(keep) else scores.new_empty(0, 1, 1)
    points = keep.cpu().numpy() // decoded.scores.shape[1]
    return Answers(logits=logits, scores=scores.cpu().numpy()[keep.cpu().numpy()], points=points)
