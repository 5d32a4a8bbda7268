"""Training rows: what a training learns from, as one memory-mapped Arrow file (uri and run lengths, no pixels).

Built once from a source, then opened by path in every process that loads: the system's page cache holds it once per
machine. A row is sliced out of the buffers, never through nested Python objects. Knows no torch, no views.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segray.errors import TrainError
from segray.formats.source import Source
from segray.images.decoding import Bands
from segray.masks.instances import CROWD, UNLABELED, Instances
from segray.masks.provenance import Provenance
from segray.store.rows import ImageRow
from segray.tally import Reason, Tally

UNLABELED_IMAGE = Reason("unlabeled", "have no label and are left out")
ELSEWHERE = Reason("elsewhere", "are among the labeled images and are left out")
EMPTY = Reason("empty", "have no object and are left out")
NO_MASK = Reason("no-mask", "have no mask")

_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("counts", pa.large_list(pa.large_binary())),
        pa.field("classes", pa.large_list(pa.int32())),
        pa.field("crowds", pa.large_list(pa.bool_())),
        pa.field("file_areas", pa.large_list(pa.float64())),
    ]
)
_CHUNK = 1024
"""Rows of a record batch: what building holds in memory."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Why an image of a source is not taken."""

    reason: Reason
    example: str = ""
    """The image and what is wrong with it, for people; the image's id where nothing else is known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingRow:
    """One image to learn from."""

    image_id: str
    uri: str
    instances: Instances | None
    """Its masks with classes of the rows' list; None in rows built without masks."""


class TrainingRows:
    """Rows of a file that `build` wrote. Pickles as its path."""

    def __init__(
        self,
        path: Path,
        chunks: Sequence["_Chunk"],
        classes: Sequence[str],
        fingerprint: str,
        bands: Sequence[int] | None = None,
    ) -> None:
        """See `open` and `build`."""
        self.path = path
        self.classes = tuple(classes)
        """Class names by class id."""
        self.fingerprint = fingerprint
        """Hash of ids, versions, masks, class names and bands; not of where the images lie."""
        self.bands: Bands | None = None if bands is None else (bands[0], bands[1], bands[2])
        """Bands that are red, green and blue of images with more than four."""
        self._chunks = chunks
        self._starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Map a file that `build` wrote.

        Raises:
            TrainError: it is missing or no such file.
        """
        try:
            with pa.memory_map(str(path)) as file:
                reader = pa.ipc.open_file(file)
                last = reader.num_record_batches - 1
                chunks = [_Chunk(reader.get_batch(index)) for index in range(last)]
                about = json.loads(reader.get_batch_with_custom_metadata(last).custom_metadata[b"segray"])
        except (OSError, pa.ArrowException, TypeError, KeyError, ValueError) as error:
            raise TrainError(f"{path}: no training rows ({error}); build them anew") from error
        return cls(Path(path), chunks, **about)

    @classmethod
    def build(
        cls,
        source: Source,
        path: Path,
        *,
        classes: Sequence[str] | None = None,
        with_masks: bool = True,
        crowds: bool = False,
        keep_empty: bool = True,
        without: Mapping[str, LeftOut] = MappingProxyType({}),
        bands: Bands | None = None,
    ) -> Self:
        """Write a source's images and masks, in its order, under a temporary name that becomes `path` when complete.

        With masks, images of which none are known (a task that nobody has finished) are left out: taken for empty ones,
        they would teach that nothing is there. The source's tally counts images, and classes without a mask.

        Args:
            source: where images and masks come from.
            path: the file; its folder is made.
            classes: names by the class id that masks shall have, matched by name; none: the source's own.
            with_masks: False leaves masks unread: unlabeled images.
            crowds: keep COCO's crowds, of provenance "gt:crowd", for evaluation to pass over; else they are left out.
            keep_empty: False leaves images out in which there is no object.
            without: images that are not taken and are counted, by their URIs.
            bands: bands that are red, green and blue of images with more than four.

        Raises:
            TrainError: no images, no masks in any, masks without a class or of a class that is not in `classes`.
            SourceError: as the source has it.
        """
        names = source.classes if classes is None else tuple(classes)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            rows = _taken(source, without)
            if with_masks:
                found: Iterable[tuple[ImageRow, Instances | None]] = _found(
                    source, rows, names, crowds=crowds, keep_empty=keep_empty
                )
            else:
                found = _counted(rows, source.tally)
            _write(found, temporary, names, with_masks, bands)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return cls.open(path)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def digest(self) -> str:
        """Return a hash of the file: of its content, and of where the images lie."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:24]

    def __reduce__(self) -> tuple[Callable[[Path], Self], tuple[Path]]:
        return type(self).open, (self.path,)

    def row(self, index: int) -> TrainingRow:
        """Row `index`, from 0."""
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        chunk = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._chunks[chunk].row(index - int(self._starts[chunk]))

    def objects(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the row and the class of every object, without crowds."""
        found = [chunk.objects() for chunk in self._chunks]
        rows = [rows + start for (rows, _), start in zip(found, self._starts, strict=False)]
        return np.concatenate(rows), np.concatenate([classes for _, classes in found])

    @property
    def image_ids(self) -> tuple[str, ...]:
        """Of all rows, in their order."""
        return self._texts("image_id")

    @property
    def uris(self) -> tuple[str, ...]:
        """Of all rows, in their order."""
        return self._texts("uri")

    def _texts(self, column: str) -> tuple[str, ...]:
        return tuple(one for chunk in self._chunks for one in chunk.batch.column(column).to_pylist())


class _Chunk:
    """A record batch with its buffers as arrays."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        counts, classes, crowds = (batch.column(name) for name in ("counts", "classes", "crowds"))
        self._file_areas = batch.column("file_areas").values.to_numpy(zero_copy_only=False)
        self._masks = np.asarray(counts.offsets)
        self._known = counts.is_valid()
        self._classes = np.asarray(classes.values)
        self._makers = np.where(crowds.values.to_numpy(zero_copy_only=False), CROWD, Provenance.GT).astype(object)
        _, offsets, data = counts.values.buffers()
        self._bytes = np.frombuffer(offsets, dtype=np.int64) if offsets else np.zeros(1, dtype=np.int64)
        self._data = memoryview(data) if data else memoryview(b"")

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def objects(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the row of the batch and the class of every object, without crowds."""
        first, last = int(self._masks[0]), int(self._masks[-1])
        rows = np.repeat(np.arange(len(self)), np.diff(self._masks))
        classes = self._classes[first:last].astype(np.int64)
        own = (classes != UNLABELED) & (self._makers[first:last] != CROWD)
        return rows[own], classes[own]

    def row(self, index: int) -> TrainingRow:
        """Row `index` of the batch."""
        image_id, uri, _, height, width = (self.batch.column(at)[index].as_py() for at in range(5))
        instances = None
        if self._known[index].as_py():
            start, stop = int(self._masks[index]), int(self._masks[index + 1])
            edges = self._bytes[start : stop + 1].tolist()
            counts = [bytes(self._data[a:b]) for a, b in pairwise(edges)]
            instances = Instances.from_rle(
                counts,
                (height, width),
                provenance=self._makers[start:stop].tolist(),
                classes=self._classes[start:stop],
                file_areas=self._file_areas[start:stop],
            )
        return TrainingRow(image_id=image_id, uri=uri, instances=instances)


def labeled_images(
    source: Source, rows: Iterable[ImageRow], *, crowds: bool, keep_empty: bool = True
) -> Iterator[tuple[ImageRow, Instances]]:
    """Yield those images whose masks the source knows; its tally counts images, and classes without a mask."""
    tally, shown = source.tally, np.zeros(len(source.classes), dtype=np.int64)
    for row in rows:
        instances = source.instances(row.image_id, crowds=crowds)
        if instances is None:
            tally.leave_out("images", UNLABELED_IMAGE, row.image_id)
            continue
        if not (keep_empty or len(instances)):
            tally.leave_out("images", EMPTY, row.image_id)
            continue
        tally.use("images")
        own = instances.classes[(instances.classes != UNLABELED) & (instances.provenance != CROWD)]
        shown += np.bincount(own, minlength=len(shown))
        yield row, instances
    for name, number in zip(source.classes, shown.tolist(), strict=True):
        if number:
            tally.use("classes")
        elif not name.isdecimal():  # Class maps without names have all 255 numbers.
            tally.leave_out("classes", NO_MASK, name)


def _taken(source: Source, without: Mapping[str, LeftOut]) -> Iterator[ImageRow]:
    for row in source.rows():
        if (why := without.get(row.uri)) is not None:
            source.tally.leave_out("images", why.reason, why.example or row.image_id)
        else:
            yield row


def _counted(rows: Iterable[ImageRow], tally: Tally) -> Iterator[tuple[ImageRow, None]]:
    for row in rows:
        tally.use("images")
        yield row, None


def _found(
    source: Source, rows: Iterable[ImageRow], names: tuple[str, ...], *, crowds: bool, keep_empty: bool
) -> Iterator[tuple[ImageRow, Instances]]:
    """The rows whose masks the source knows, with masks of our classes.

    Raises:
        TrainError: a mask without a class, or of a class that is not ours.
    """
    known = [names.index(one) if one in names else UNLABELED for one in source.classes]
    table = np.array([*known, UNLABELED], dtype=np.int32)
    for row, instances in labeled_images(source, rows, crowds=crowds, keep_empty=keep_empty):
        nameless = instances.classes == UNLABELED  # Void is a crowd without a class.
        if (nameless & (instances.provenance != CROWD)).any():
            raise TrainError(f"image {row.image_id!r} has masks without a class: give them one, or take them out")
        named = replace(instances, classes=table[instances.classes])
        if ((named.classes == UNLABELED) & ~nameless).any():
            strange = [one for one in source.classes if one not in names]
            raise TrainError(
                f"image {row.image_id!r} has masks of a class that the student does not know, which are "
                f"{_listed(strange)}; it knows {_listed(names)}: rename them, or take them out"
            )
        yield row, named


def _write(
    found: Iterable[tuple[ImageRow, Instances | None]],
    path: Path,
    names: tuple[str, ...],
    masked: bool,
    bands: Bands | None,
) -> None:
    """All rows in record batches, and a last empty one that says what the file holds."""
    digest = hashlib.blake2b(json.dumps(names).encode(), digest_size=16)
    images_seen = masks_seen = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        while chunk := list(islice(found, _CHUNK)):
            for row, instances in chunk:
                _update(digest, row, instances)
                masks_seen += len(instances) if instances is not None else 0
            images_seen += len(chunk)
            writer.write_batch(_batch(chunk))
        if not images_seen or (masked and not masks_seen):
            raise TrainError(f"nothing to learn from: {images_seen} images with {masks_seen} masks; see to the source")
        digest.update(b"" if bands is None else repr(tuple(bands)).encode())
        about = {"classes": names, "fingerprint": digest.hexdigest(), "bands": bands}
        writer.write_batch(_batch([]), custom_metadata={"segray": json.dumps(about)})


def _update(digest: "hashlib.blake2b", row: ImageRow, instances: Instances | None) -> None:
    digest.update(row.key)
    if instances is not None:
        digest.update(repr((instances.size_hw, [len(one) for one in instances.counts])).encode())
        digest.update(
            b"".join(instances.counts) + instances.classes.tobytes() + (instances.provenance == CROWD).tobytes()
        )


def _batch(rows: Sequence[tuple[ImageRow, Instances | None]]) -> pa.RecordBatch:
    found = [instances for _, instances in rows]
    columns = {
        **{name: [getattr(row, name) for row, _ in rows] for name in ("image_id", "uri", "version")},
        "height": [one.size_hw[0] if one is not None else None for one in found],
        "width": [one.size_hw[1] if one is not None else None for one in found],
        "counts": [list(one.counts) if one is not None else None for one in found],
        "classes": [one.classes if one is not None else None for one in found],
        "crowds": [one.provenance == CROWD if one is not None else None for one in found],
        "file_areas": [one.file_areas if one is not None else None for one in found],
    }
    return pa.RecordBatch.from_pydict(columns, schema=_SCHEMA)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
