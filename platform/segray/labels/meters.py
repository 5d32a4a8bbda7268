"""What a cluster's Prometheus sees of labeling, through Ray's exporter (which puts `ray_` before each name).

Counts what was committed; knows nothing of how. Summaries and costs are counted from the store, not from these.
"""

from collections.abc import Sequence

from ray.util.metrics import Counter

STORE = ("store",)


class LabelMeters:
    """One actor's counters of what it has committed to a store."""

    def __init__(self, store: str) -> None:
        """`store` is the store's name, the last part of its URI."""
        self._images = Counter("segray_label_images_total", "Images labeled or refused.", STORE)
        self._masks = Counter("segray_label_masks_total", "Masks kept.", STORE)
        self._refused = Counter("segray_label_refused_total", "Images refused, by reason.", (*STORE, "reason"))
        self._seconds = Counter("segray_label_actor_seconds_total", "Seconds that actors worked on images.", STORE)
        for counter in (self._images, self._masks, self._refused, self._seconds):
            counter.set_default_tags({"store": store})

    def committed(self, *, images: int, masks: int, refused: Sequence[str], seconds: float) -> None:
        """Count a part in; `refused` has one reason per refused image."""
        # Ray's counters refuse to be raised by nothing.
        for counter, amount in ((self._images, images), (self._masks, masks), (self._seconds, seconds)):
            if amount > 0:
                counter.inc(amount)
        for reason in refused:
            self._refused.inc(tags={"reason": reason})
