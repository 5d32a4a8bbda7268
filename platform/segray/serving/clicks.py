"""Clicks and boxes to masks by a SAM: an image is embedded once, then every click on it costs one decoder pass.

Knows a `Sam`, pixels and clicks. Knows no HTTP and no Ray: backends call it, from any thread.
"""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from threading import Lock

import numpy as np
import torch

from segray.config.serve import ClickServing
from segray.masks.instances import Instances
from segray.masks.provenance import Provenance
from segray.sam.build import build
from segray.sam.protocol import BOX_LOWER_RIGHT, BOX_UPPER_LEFT, Embedding, Prompts
from segray.serving.backend import ImageClicks, ModelInfo, Pixels


class Embeddings:
    """The last `most` embeddings used, by key. Callers that come for the same one at once share one computation."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: OrderedDict[str, Future[Embedding]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str, embed: Callable[[], Embedding]) -> Embedding:
        """The embedding of this key; where none is kept, what `embed` gives. What it raises is kept for nobody."""
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
            else:
                mine = self._kept[key] = Future[Embedding]()
                while len(self._kept) > self.most:
                    self._kept.popitem(last=False)
        if known is not None:
            return known.result()
        try:
            mine.set_result(embed())
        except BaseException as error:
            with self._lock:
                if self._kept.get(key) is mine:
                    del self._kept[key]
            mine.set_exception(error)
        return mine.result()


class ClickModel:
    """The SAM of a config, and the embeddings of the images that people work on now."""

    def __init__(self, config: ClickServing) -> None:
        """Load the model.

        Raises:
            BackendError: see `segray.sam.build.build`.
        """
        self.sam = build(config.sam)
        self.embeddings = Embeddings(config.cached_images)
        self.loaded = datetime.now(UTC).isoformat(timespec="seconds")

    def masks(self, image: Pixels, image_sha256: str, clicks: ImageClicks) -> Instances:
        """Masks of what was marked, best predicted IoU first, none of them empty.

        One point may mean a thing, its part or what it is part of: up to three masks. Several points or a box say
        which: one mask, as segment-anything's authors advise. Scores are predicted IoUs; provenance is `sam`.

        Raises:
            ValueError: the clicks do not fit the image; see `ImageClicks.check`.
        """
        size_hw = (image.shape[0], image.shape[1])
        clicks.check(size_hw)
        embedding = self.embeddings.get(image_sha256, lambda: self.sam.embed([image]))
        decoded = self.sam.decode(embedding, prompts(clicks))
        scores = decoded.scores[0]
        best = scores.argsort(descending=True, stable=True)
        logits = self.sam.upscale(self.sam.logits(decoded, best), size_hw)
        inside = (logits > self.sam.mask_threshold).cpu().numpy()
        points = np.tile(clicks.points_xy[0], (len(best), 1)) if len(clicks.points_xy) == 1 else None
        columns = {"points_xy": points} if points is not None else {}
        found = Instances.from_masks(inside, provenance=Provenance.SAM, scores=scores[best].cpu().numpy(), **columns)
        return found.filter(found.areas > 0)

    def info(self) -> ModelInfo:
        """What answers."""
        return ModelInfo(
            kind="sam",
            name=self.sam.name,
            weights_sha256=self.sam.weights_hash,
            device=str(self.sam.device),
            loaded=self.loaded,
        )


def prompts(clicks: ImageClicks) -> Prompts:
    """The one prompt that the clicks on an image are: its points, then the corners of its box."""
    corners = () if clicks.box_xyxy is None else (clicks.box_xyxy[:2], clicks.box_xyxy[2:])
    labels = (*clicks.labels, *((BOX_UPPER_LEFT, BOX_LOWER_RIGHT) if corners else ()))
    return Prompts(
        image_index=torch.zeros(1, dtype=torch.int64),
        points_xy=torch.tensor([[*clicks.points_xy, *corners]], dtype=torch.float32),
        labels=torch.tensor([labels], dtype=torch.int64),
        multimask=len(labels) == 1,
    )
