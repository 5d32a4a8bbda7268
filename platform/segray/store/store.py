"""The store: what a stage leaves behind. An append-only folder of Parquet parts, named by all that decides its content.

    masks-0123456789ab/
        store.json              the manifest
        parts/batch-*.parquet   rows as a stage committed them, named by their keys
        parts/merged-*.parquet  the same rows, merged
        keys/                   sorted keys of the parts, a copy that makes large stores quick to ask
        lease.json              who works on it now
        generation              changes when parts are replaced

A part is the only truth: a row is there exactly when a part that holds it is. Killed anywhere, the next command goes
on. Knows rows and keys, nothing of models, stages or Ray. A `Store` is a folder's name and its manifest, and pickles.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from segray.config.base import fingerprint
from segray.errors import StoreError
from segray.storage import commits, files
from segray.storage.lease import Lease
from segray.store import compaction, keys, manifest, parts
from segray.store.catalog import StoreInfo, describe
from segray.store.keys import KeySet, as_keys
from segray.store.manifest import StoreKind, StoreManifest
from segray.store.part_listing import with_parts
from segray.store.reading import stream
from segray.store.rows import LABELED, ImageRow, LabeledRow, labeled_rows
from segray.store.selection import RowFilter

if TYPE_CHECKING:
    import pandas

_STAGE = re.compile(r"[a-z][a-z0-9-]{0,40}")
_CHUNK = 16_384
"""Source rows looked up at once."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """A store that is there. `uri` is its folder."""

    uri: str
    manifest: StoreManifest

    @classmethod
    def create(
        cls,
        root_uri: str,
        stage: str,
        content: Mapping[str, Any],
        *,
        price_per_second: float | None = None,
        kind: StoreKind | None = None,
    ) -> Self:
        """The store of this content below a folder: made, or opened where it is there.

        Args:
            root_uri: the folder of stores.
            stage: names the kind of store ("masks"): small letters, digits, hyphens.
            content: everything that decides what the rows hold, as JSON.
            price_per_second: of one actor, for `info`; noted anew where it differs.
            kind: what the rows hold; None: inferred from the content.

        Raises:
            StoreError: it cannot be written, or what is there is damaged, newer or of other content.
            ValueError: a stage of other letters.
        """
        if not _STAGE.fullmatch(stage):
            raise ValueError(f"stage {stage!r}: use small letters, digits and hyphens")
        uri = files.absolute(files.join(root_uri, f"{stage}-{fingerprint(content)}"))
        new = StoreManifest.new(stage, content, price_per_second, kind)
        with commits.as_store_errors(uri):
            there = files.exists(files.join(uri, manifest.NAME))
        if not there:
            manifest.write(uri, new)
            return cls(uri=uri, manifest=new)
        found = manifest.read(uri)
        if (found.stage, found.content) != (new.stage, new.content):
            raise StoreError(
                f"{uri}: holds {found.stage} of other content, though its name is the same; move that folder away"
            )
        if price_per_second not in (None, found.price_per_second):
            found = replace(found, price_per_second=price_per_second)
            manifest.write(uri, found)
        return cls(uri=uri, manifest=found)

    @classmethod
    def open(cls, uri: str) -> Self:
        """The store in this folder.

        Raises:
            StoreError: there is none, it is damaged, or of a newer format.
        """
        uri = files.absolute(uri)
        return cls(uri=uri, manifest=manifest.read(uri))

    def write_part(self, rows: pa.Table | Sequence[LabeledRow]) -> str:
        """Commit `LABELED` rows, all or none. The same images again replace their part. Returns its name.

        Raises:
            StoreError: it could not be written; the store is as before.
            ValueError: no rows, or not `LABELED`.
        """
        return parts.commit_part(self.uri, parts.part_table(rows))

    def committed(self, *, errors: bool = True) -> KeySet:
        """The keys (`ImageRow.key`) of all that is here, with or without images that have only an error.

        Raises:
            StoreError: a part is damaged.
        """
        return with_parts(self.uri, lambda found: keys.committed(self.uri, found, errors=errors))

    def missing(self, rows: Iterable[ImageRow], *, retry_errors: bool = False) -> Iterator[ImageRow]:
        """Those of these rows that are not here, in their order, streamed. `retry_errors`: and those that failed.

        What is committed after the first row was asked for is not seen.

        Raises:
            StoreError: a part is damaged.
        """
        known = self.committed(errors=not retry_errors)
        left = iter(rows)
        while chunk := list(islice(left, _CHUNK)):
            done = known.contains(as_keys(row.key for row in chunk))
            yield from (row for row, is_done in zip(chunk, done, strict=True) if not is_done)

    def rows(
        self,
        columns: Sequence[str] | None = None,
        *,
        image_ids: Collection[str] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Each image once, in batches of some 16 MiB, in an order that the parts decide.

        Args:
            columns: of `LABELED`; None: all.
            image_ids: only these images; None: all.
            versions: the current version of each image, as the source has it: exactly these are given. None: of each
                image the version written last.

        Raises:
            StoreError: a part is damaged, or rows were deleted while they were read.
            ValueError: a column that `LABELED` does not have.
        """
        names = LABELED.names if columns is None else list(columns)
        unknown = sorted(set(names) - set(LABELED.names))
        if unknown:
            raise ValueError(f"no column {', '.join(unknown)}; there are {', '.join(LABELED.names)}")
        current = None
        if versions is not None:
            rows = (ImageRow(image_id=image_id, uri="", version=version) for image_id, version in versions.items())
            current = KeySet.of(row.key for row in rows)
        images = None if image_ids is None else KeySet.of(parts.image_key(image_id) for image_id in image_ids)
        return stream(self.uri, names, RowFilter(keys=current, images=images, newest=current is None))

    def __len__(self) -> int:
        """Return the number of images, refused ones included."""
        return self.info().images

    def __bool__(self) -> bool:
        """Return True: a store that is there is no empty answer, and nothing need be read to say so."""
        return True

    def __iter__(self) -> Iterator[LabeledRow]:
        """Yield each image once, streamed: `image_id`, `uri`, `instances`, or `error` and `detail` in their place.

        Raises:
            StoreError: a part is damaged, or rows were deleted while they were read.
        """
        return (row for batch in self.rows() for row in labeled_rows(batch))

    def __contains__(self, image_id: object) -> bool:
        """Return whether the store holds an image of this id.

        Raises:
            StoreError: a part is damaged.
        """
        return isinstance(image_id, str) and any(len(batch) for batch in self.rows(["image_id"], image_ids=[image_id]))

    def __getitem__(self, image_id: str) -> LabeledRow:
        """Return one image by its id, such as its path below the source's folder.

        Raises:
            KeyError: the store does not hold it.
            StoreError: a part is damaged.
            TypeError: the id is no text.
        """
        if not isinstance(image_id, str):
            raise TypeError(f"a store is indexed by image ids, which are texts, got {type(image_id).__name__}")
        for batch in self.rows(image_ids=[image_id]):
            for row in labeled_rows(batch):
                return row
        raise KeyError(f"{self.uri} holds no image called {image_id!r}")

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows as an Arrow table, one per image, all in memory.

        Args:
            columns: of `LABELED`; None: all, which includes every mask's run lengths.

        Raises:
            StoreError: a part is damaged.
            ValueError: a column that `LABELED` does not have.
        """
        names = LABELED.names if columns is None else list(columns)
        schema = pa.schema([LABELED.field(name) for name in names if name in LABELED.names])
        return pa.Table.from_batches(self.rows(columns), schema)

    def to_pandas(self, columns: Sequence[str] | None = None) -> "pandas.DataFrame":
        """Return all rows as a pandas table, one per image; `masks` holds an array of dicts.

        Args and errors are those of `to_arrow`.
        """
        table: pandas.DataFrame = self.to_arrow(columns).to_pandas()
        return table

    def export(
        self, form: str, out: str | Path, *, corrections: Sequence[str] = (), overwrite: bool = False, **options: Any
    ) -> Any:
        """Write the store in another tool's format, and return what was written; see `segray.export` for `options`.

        Example:
            >>> store.export("coco", "masks.json")
        """
        # By name: the store imports nothing from the rooms above it.
        write = resolve_name("segray.jobs.outputs:export")
        return write(self, form, Path(out), corrections=corrections, overwrite=overwrite, **options)

    def lease(self, holder: str) -> Lease:
        """Hold the store for a job, as a context manager: entering raises StoreError while another job holds it."""
        return Lease(self.uri, holder)

    def compact(self, *, lease: Lease | None = None, part_bytes: int = compaction.PART_BYTES) -> None:
        """Merge small parts, drop doubles, leave sorted keys, delete leftovers. Older versions of images stay.

        Args:
            lease: the caller's, where it holds the store; None: taken for the while.
            part_bytes: size of a full part.

        Raises:
            StoreError: another job holds the store, a part is damaged, or the disk is full; the store stays valid.
        """
        if lease is not None:
            lease.check()
            compaction.merge(self.uri, part_bytes)
            return
        with self.lease("compact"):
            compaction.merge(self.uri, part_bytes)

    def remove_image(self, image_id: str) -> int:
        """Delete every version of an image, masks and all. Returns how many rows went.

        Raises:
            StoreError: another job holds the store, a part is damaged, or the disk is full. Call again then.
        """
        with self.lease(f"remove {image_id!r}"):
            return compaction.remove(self.uri, image_id)

    def delete(self) -> None:
        """Delete the store. Killed on the way, it is still a store, and can be deleted again.

        Raises:
            StoreError: another job holds it, or it cannot be deleted.
        """
        with self.lease("delete"):
            for folder in (parts.FOLDER, keys.FOLDER):
                commits.delete_folder(files.join(self.uri, folder))
            commits.delete(files.join(self.uri, manifest.NAME))
        with commits.as_store_errors(self.uri):
            made_again = files.exists(files.join(self.uri, manifest.NAME))
        if not made_again:
            commits.delete_folder(self.uri)

    def info(self) -> StoreInfo:
        """What it holds and cost.

        Raises:
            StoreError: a part is damaged.
        """
        return describe(self.uri, self.manifest)
