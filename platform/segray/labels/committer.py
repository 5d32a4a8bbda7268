"""Commit labeled parts to the store, one after the other, in this process.

`runner` spreads the same work over Ray's actors. Knows stages and stores; no method and no Ray.
"""

from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from typing import Final

import pyarrow as pa

from segray.errors import DeviceError
from segray.labels.attempts import Attempt, PartGivenBackError, carry_over, forget
from segray.labels.stages.stage import Stage
from segray.labels.summary import PartCounts
from segray.storage import commits
from segray.store import Store
from segray.store.rows import image_rows

NOTES_AT_ONCE: Final = 20
"""Notes of committed parts that a worker removes together: a commit costs an object store two requests and a bit."""


class PartCommitter:
    """A stage with its models loaded, and the store that its parts are committed to."""

    def __init__(self, stage: Stage, store: Store, earlier: Mapping[str, int]) -> None:
        """Load the stage's models.

        Args:
            stage: what labels.
            store: where parts are committed.
            earlier: what `attempts.carry_over` returned.
        """
        self.store, self.earlier = store, earlier
        self.label = stage.build()
        self._notes: list[str] = []

    def commit(self, part: pa.Table) -> PartCounts:
        """Label the images of a part (`SOURCE` rows), commit their rows together, and count them.

        Raises:
            DeviceError, LabelError, PartGivenBackError: see `Attempt.label`.
            StoreError: the store cannot be written.
        """
        attempt = Attempt(self.store.uri, image_rows(part), self.earlier)
        rows = list(attempt.label(self.label))
        self.store.write_part(rows)
        if attempt.is_plain:
            # Such a note may outlive its part, since no part has these images again.
            self._notes.append(attempt.uri)
        else:
            attempt.done()
        if len(self._notes) >= NOTES_AT_ONCE:
            commits.delete(*self._notes)
            self._notes.clear()
        found = [row.instances for row in rows if row.instances is not None]
        return PartCounts(
            images=len(rows),
            masks=sum(map(len, found)),
            refused=Counter(row.error for row in rows if row.error is not None),
            left_out=Counter(reason for row in rows for reason in row.left_out),
            for_review=Counter(reason for one in found for reason in one.review_reasons() if reason),
            seconds=sum(row.seconds for row in rows),
            squares=sum(row.seconds**2 for row in rows),
        )


def run_in_process(stage: Stage, store: Store, parts: Iterable[pa.Table]) -> Generator[PartCounts, None, None]:
    """Label the parts here, in order; yield each one's counts once it is committed.

    The notes of `labels.attempts` outlive the process: where an image ends it, the next commands do that part image by
    image, and refuse the image after it ended two of them. An exception, ctrl-C or SIGTERM is no such end.

    Raises:
        DeviceError: the device is broken; the same command goes on in a new process.
        StoreError: the store cannot be written.
    """
    committer = PartCommitter(stage, store, carry_over(store.uri, blame_last=True))
    for part in parts:
        yield _committed(committer, part)
    forget(store.uri)


def _committed(committer: PartCommitter, part: pa.Table) -> PartCounts:
    try:
        while True:
            try:
                return committer.commit(part)
            except PartGivenBackError:
                # There is no other worker; the note now blames the image, so that this ends.
                continue
    except DeviceError:
        raise
    except BaseException:
        Attempt(committer.store.uri, image_rows(part)).done()
        raise
