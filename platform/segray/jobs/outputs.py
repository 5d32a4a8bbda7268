"""What comes out of a store: exports and the report, with people's corrections put in."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from segray.datasets.corrections import Corrections
from segray.errors import ExportError
from segray.formats.coco import CocoSource, Crowds
from segray.formats.coco.ids import CocoIds
from segray.formats.label_studio import LabelStudioSource
from segray.formats.registry import WRITERS
from segray.formats.source import is_task_list
from segray.formats.store.reader import stored_classes
from segray.formats.tally import ExportSummary
from segray.images import decoding
from segray.labels.report.report import write_report
from segray.pages.overlay import Pixels
from segray.storage import files
from segray.store import Store, StoreKind
from segray.store.rows import ImageRow, LabeledRow, labeled_rows
from segray.tally import MAX_DAMAGED

RUNS = "runs"
"""Folder of run summaries inside a store."""


def open_corrections(paths: Sequence[str], store: Store, crowds: Crowds = "masks") -> Corrections:
    """COCO and Label Studio JSON files, told apart by what they hold; later ones count over earlier ones.

    Args:
        paths: the files.
        store: the store whose rows are to be corrected.
        crowds: meaning of `iscrowd` 1 in COCO files. CVAT, where most of them come from, writes it for brush masks.

    Raises:
        SourceError: a file cannot be read or is neither.
    """
    folder = image_folder(store)

    def config(path: str) -> CocoSource | LabelStudioSource:
        if is_task_list(path):
            return LabelStudioSource(uri=folder, annotations=path)
        return CocoSource(uri=folder, annotations=path, crowds=crowds)

    return Corrections.open([config(path) for path in paths], stored_classes(store))


def image_folder(store: Store) -> str:
    """Return the folder that image ids of a store are relative to, or the store's own where nobody knows it."""
    source = str(store.manifest.content.get("source", ""))
    return source if files.scheme(source) or source.startswith("/") else store.uri


def corrected_rows(store: Store, corrections: Corrections) -> Iterator[LabeledRow]:
    """All rows of a store, with what people fixed in the place of what machines made.

    Raises:
        ExportError: at the end, where a corrections file speaks of images that the store does not have.
    """
    unseen = set(corrections.image_ids)
    for batch in store.rows():
        for row in labeled_rows(batch):
            unseen.discard(row.image.image_id)
            yield corrections.apply(row)
    if unseen:
        few = ", ".join(sorted(unseen)[:5])
        raise ExportError(f"{len(unseen)} corrected images are not in {store.uri}: {few}; are their names as exported?")


def refused(store: Store, most: int) -> list[str]:
    """Some of a store's refused images, `most` of them at most, each with its reason: a line for each."""
    found = (
        f"{image_id}: {error} ({detail})" if detail else f"{image_id}: {error}"
        for batch in store.rows(["image_id", "error", "detail"])
        for image_id, error, detail in zip(*(batch.column(at).to_pylist() for at in range(3)), strict=True)
        if error is not None
    )
    return list(islice(found, most))


def export(
    store: Store,
    form: str,
    out: Path,
    *,
    corrections: Sequence[str] = (),
    crowds: Crowds = "masks",
    max_damaged: float = MAX_DAMAGED,
    overwrite: bool = False,
) -> ExportSummary:
    """Write a store in another tool's format (a key of `WRITERS`); `crowds` as `open_corrections` has it.

    Raises:
        DamageError: more of the corrections is damaged than `max_damaged`.
        ExportError: no such format, `out` is there already, or the rows do not fit the format.
        SourceError: a corrections file cannot be read.
    """
    if form not in WRITERS:
        raise ExportError(f"format {form!r}: choose one of {', '.join(WRITERS)}")
    fixed = open_corrections(corrections, store, crowds)
    read = fixed.read_all()
    read.check(max_damaged, "corrections")
    write = WRITERS[form].of_store(store.manifest.fingerprint, CocoIds.read(store.uri))
    written = write(corrected_rows(store, fixed), out, fixed.classes, overwrite=overwrite)
    return replace(written, corrections=read)


def report(
    store: Store, out: Path, *, corrections: Sequence[str] = (), crowds: Crowds = "masks", sample: int = 24
) -> None:
    """Write the HTML report of a store: its masks, its refused images, its last run.

    Raises:
        SourceError: a corrections file cannot be read.
    """
    classes = stored_classes(store)
    fixed = open_corrections(corrections, store, crowds)
    price, summary = store.manifest.price_per_second, last_run(store)
    # The store's price is of one actor; the report's of one GPU.
    gpus_per_actor = summary.get("gpu_s_per_image", 0) / (summary.get("actor_s_per_image") or 1) or 1
    write_report(
        corrected_rows(store, fixed),
        out,
        summary,
        partial(_pixels, bands=tuple(given) if (given := store.manifest.content.get("bands")) else None),
        title=str(store.manifest.content.get("source", files.name(store.uri))),
        classes=fixed.classes if classes else (),
        maps=store.manifest.kind is StoreKind.LABEL_MAPS,
        settings=store.manifest.content,
        per_hour=price * 3600 / gpus_per_actor if price else None,
        sample=sample,
    )


def last_run(store: Store) -> dict[str, Any]:
    """The summary of the store's last run; empty where none ended."""
    folder = files.join(store.uri, RUNS)
    found = sorted(entry.uri for entry in files.list_files(folder, (".json",))) if files.exists(folder) else []
    return dict(json.loads(files.read_bytes(found[-1]))) if found else {}


def _pixels(image: ImageRow, bands: decoding.Bands | None) -> Pixels:
    pixels, _ = decoding.load(image.uri, 2**40, bands)
    return pixels
