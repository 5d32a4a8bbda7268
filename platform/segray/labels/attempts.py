"""Parts whose worker died on them: done again image by image, and without the image that ends its process each time.

Ray does a part again whenever its actor dies, without end: right for machines that go, wrong for an image that crashes
a decoder. A note in the store says that a part is being done and, from the second try on, at which image. What images
cost is remembered over runs. Knows stores and stages; no Ray.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from segray.errors import DeviceError, LabelError, SourceError, StoreError
from segray.labels.stages.stage import Label
from segray.storage import commits, files
from segray.store.rows import ImageRow, LabeledRow

FOLDER: Final = "attempts"
"""Folder of the notes, in the store until a run has labeled everything."""
EARLIER: Final = "earlier-runs.json"
"""File of how often processes ended at which image in earlier runs."""
DEATHS: Final = 2
"""An image at which the process ended so often is refused; once may have been the machine's end, not the image's."""
DEVICE_FAILURES: Final = 2
"""A worker whose device broke so often on one part gives the part back, since another worker's device may hold."""
MAX_IN_A_ROW: Final = 20
"""Ends of a process without one labeled image between them, after which the job stops."""
REASON: Final = "ends-process"
"""The refused image's error."""


class PartGivenBackError(Exception):
    """This worker cannot do the part; another one may."""


@dataclass
class AttemptRecord:
    """What the tries of a part so far came to. Images are keys of `_name`."""

    at: str | None = None
    """The image that is being labeled; none: all at once."""
    deaths: dict[str, int] = field(default_factory=dict)
    """How often the process ended, by image."""
    in_a_row: int = 0
    """How often the process ended since an image was labeled."""
    device_failures: int = 0
    """How often the device broke since the part was given to a worker."""
    ended_by_device: bool = False
    """Whether the device's failure ended the try before."""

    def count_end(self) -> None:
        """Count that the process ended on the try before."""
        self.in_a_row += 1
        if self.at is not None:
            self.deaths[self.at] = self.deaths.get(self.at, 0) + 1
            self.at = None


class Attempt:
    """One try at a part."""

    def __init__(self, store_uri: str, rows: Sequence[ImageRow], earlier: Mapping[str, int] | None = None) -> None:
        """Take a part.

        Args:
            store_uri: the store that is being written.
            rows: the part's images.
            earlier: what `carry_over` returned at the start of the run.
        """
        self.uri, self.rows = files.join(store_uri, FOLDER, f"{part_key(rows)}.json"), rows
        self.is_plain = False
        """Whether the part was labeled all at once, so that its note says nothing of any image."""
        self._earlier = {name: earlier[name] for name in map(_name, rows) if name in earlier} if earlier else {}

    def label(self, label: Label) -> Iterator[LabeledRow]:
        """Label the part's rows: all at once on the first try, one by one after.

        Raises:
            DeviceError: the process's device is broken; it is noted, and the process should end.
            LabelError: process after process ended here without labeling one image.
            PartGivenBackError: the device broke again and again on this part.
            StoreError: the note cannot be read or written.
        """
        note = AttemptRecord(deaths=dict(self._earlier))
        # A note that is there already says that a try came before; one request says both.
        is_again = not commits.create(self.uri, _bytes(note))
        if is_again:
            note = _read(self.uri) or note
        try:
            if is_again:
                self._judge(note)
            elif not note.deaths:
                self.is_plain = True
                yield from label(self.rows)
                return
            yield from self._one_by_one(label, note)
        except DeviceError:
            note.device_failures += 1
            note.ended_by_device = True
            self._write(note)
            raise

    def _one_by_one(self, label: Label, note: AttemptRecord) -> Iterator[LabeledRow]:
        for row in self.rows:
            deaths = note.deaths.get(_name(row), 0)
            if deaths >= DEATHS:
                detail = f"the process that labeled it ended {deaths} times"
                yield LabeledRow(image=row, error=REASON, detail=detail, seconds=0.0)
                continue
            note.at = _name(row)
            self._write(note)
            yield from label([row])
            note.in_a_row = 0

    def _judge(self, note: AttemptRecord) -> None:
        """Decide from the tries so far whether this worker, and this job, go on."""
        given_back = note.device_failures >= DEVICE_FAILURES
        if given_back or not note.ended_by_device:
            # A device that broke once more is the device's fault, not the image's.
            note.count_end()
        note.ended_by_device = False
        if note.in_a_row >= MAX_IN_A_ROW:
            names = ", ".join(name.rpartition(" ")[0] for name in list(note.deaths)[:3]) or "the start of a part"
            raise LabelError(
                f"worker processes ended {note.in_a_row} times in a row without labeling an image, at {names}: the"
                " workers' logs say what ended them"
            )
        if given_back:
            note.device_failures = 0
            self._write(note)
            raise PartGivenBackError(f"the device broke {DEVICE_FAILURES} times in a row on this part")

    def done(self) -> None:
        """Remove the note of a part that is committed.

        Raises:
            StoreError: it cannot be deleted.
        """
        commits.delete(self.uri)

    def _write(self, note: AttemptRecord) -> None:
        commits.commit(self.uri, _bytes(note))


def part_key(rows: Sequence[ImageRow]) -> str:
    """Return 32 hexadecimal digits that name a part by its images and their versions."""
    return hashlib.sha256("\n".join(map(_name, rows)).encode(errors="surrogatepass")).hexdigest()[:32]


def carry_over(store_uri: str, *, blame_last: bool) -> dict[str, int]:
    """Gather from the notes of runs that are gone how often processes ended at which image; keep it for the next run.

    Whoever holds the store's lease may call it. Notes that name no image stay: the same part is then done one by one.

    Args:
        store_uri: the store that is being written.
        blame_last: count the image that was being labeled when the run ended. Wrong where the run may just have been
            stopped.

    Raises:
        StoreError: notes cannot be read or written.
    """
    folder = files.join(store_uri, FOLDER)
    earlier = _read_json(files.join(folder, EARLIER)) or {}
    told = {uri: note for uri, note in _notes(folder).items() if note.at is not None or note.deaths}
    for note in told.values():
        if blame_last and not note.ended_by_device:
            note.count_end()
        for name, deaths in note.deaths.items():
            earlier[name] = max(earlier.get(name, 0), deaths)
    if told:
        commits.commit(files.join(folder, EARLIER), json.dumps(earlier).encode())
        commits.delete(*told)
    return earlier


def forget(store_uri: str) -> None:
    """Remove all notes, of a run that has labeled everything; whoever holds the store's lease may.

    Raises:
        StoreError: they cannot be deleted.
    """
    commits.delete_folder(files.join(store_uri, FOLDER))


def _bytes(note: AttemptRecord) -> bytes:
    return json.dumps(asdict(note)).encode()


def _name(row: ImageRow) -> str:
    return f"{row.image_id} {row.version}"


def _notes(folder: str) -> dict[str, AttemptRecord]:
    """Return the notes of parts by their URIs."""
    try:
        uris = [entry.uri for entry in files.list_files(folder)]
    except SourceError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return {}
        raise StoreError(str(error)) from error
    read = {uri: _read(uri) for uri in uris if not uri.endswith(EARLIER)}
    return {uri: note for uri, note in read.items() if note is not None}


def _read(uri: str) -> AttemptRecord | None:
    found = _read_json(uri)
    return None if found is None else AttemptRecord(**found)


def _read_json(uri: str) -> dict[str, Any] | None:
    try:
        data = files.read_if_there(uri)
    except SourceError as error:
        raise StoreError(str(error)) from error
    return None if data is None else dict(json.loads(data))
