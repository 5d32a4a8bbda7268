"""Parts whose actor died on them: done again image by image, and without the image that ends its process each time.

Ray does a part again whenever its actor dies, without end: right for machines that go, wrong for an image that crashes
a decoder. A note in the store says that a part is being done and, from the second try on, at which image. Knows stores
and stages; no Ray.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

from segray.errors import SourceError, StoreError
from segray.labels.stages.stage import Label
from segray.storage import commits, files
from segray.store.rows import ImageRow, LabeledRow

FOLDER = "attempts"
"""In the store, while a job runs."""
DEATHS = 2
"""An image at which the process ended so often is refused; once may have been the machine's end, not the image's."""
REASON = "ends-process"
"""The refused image's error."""


@dataclass
class AttemptRecord:
    """What the tries of a part so far came to."""

    at: str | None = None
    """The image that is being labeled; none: all at once."""
    deaths: dict[str, int] = field(default_factory=dict)
    """How often the process ended, by image."""


class Attempt:
    """One try at a part."""

    def __init__(self, store_uri: str, rows: Sequence[ImageRow]) -> None:
        """Reads what earlier tries left.

        Raises:
            StoreError: the store cannot be read.
        """
        key = hashlib.sha256("\n".join(f"{row.image_id} {row.version}" for row in rows).encode()).hexdigest()[:32]
        self.uri, self.rows = files.join(store_uri, FOLDER, f"{key}.json"), rows
        self.earlier = _read(self.uri)

    def label(self, label: Label) -> Iterator[LabeledRow]:
        """The part's rows: all at once on the first try, one by one after.

        Raises:
            StoreError: the note cannot be written.
        """
        if self.earlier is None:
            self._write(AttemptRecord())
            yield from label(self.rows)
            return
        note = self.earlier
        if note.at is not None:
            note.deaths[note.at] = note.deaths.get(note.at, 0) + 1
        for row in self.rows:
            deaths = note.deaths.get(row.image_id, 0)
            if deaths >= DEATHS:
                detail = f"the process that labeled it ended {deaths} times"
                yield LabeledRow(image=row, error=REASON, detail=detail, seconds=0.0)
                continue
            note.at = row.image_id
            self._write(note)
            yield from label([row])

    def done(self) -> None:
        """The part is committed: its note goes.

        Raises:
            StoreError: it cannot be deleted.
        """
        commits.delete(self.uri)

    def _write(self, note: AttemptRecord) -> None:
        commits.commit(self.uri, json.dumps(asdict(note)).encode())


def forget(store_uri: str) -> None:
    """Remove the notes of jobs that are gone; whoever holds the store's lease may.

    Raises:
        StoreError: they cannot be deleted.
    """
    commits.delete_folder(files.join(store_uri, FOLDER))


def _read(uri: str) -> AttemptRecord | None:
    try:
        return AttemptRecord(**json.loads(files.read_bytes(uri))) if files.exists(uri) else None
    except SourceError as error:
        raise StoreError(str(error)) from error
