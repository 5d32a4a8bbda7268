"""What a store holds and cost, and which stores a folder has. Reads the small columns of parts only."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from segray.errors import SourceError, StoreError
from segray.storage import commits, files
from segray.store import manifest
from segray.store.manifest import StoreManifest
from segray.store.part_listing import with_parts
from segray.store.parts import Part, read_ahead
from segray.store.selection import RowFilter, select


@dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """A line of `segray store ls`. Counts are of each image's newest version."""

    uri: str
    stage: str = ""
    fingerprint: str = ""
    created: str = ""
    """ISO 8601, UTC."""
    content: Mapping[str, Any]
    """What decides what the rows hold."""
    images: int = 0
    """Images with masks or with an error."""
    masks: int = 0
    refused: Mapping[str, int]
    """Images with an error, by reason."""
    bytes: int = 0
    """Of the parts."""
    parts: int = 0
    seconds: float = 0.0
    """Actor time spent on all rows that the parts hold, older versions included."""
    cost: float | None = None
    """`seconds` at the store's price; None where nobody gave one."""
    problem: str | None = None
    """Why the store cannot be read; all else is empty then."""


def describe(uri: str, known: StoreManifest) -> StoreInfo:
    """What the store at `uri` holds.

    Raises:
        StoreError: a part is damaged.
    """

    def count(parts: Sequence[Part]) -> StoreInfo:
        chosen = select(parts, RowFilter(newest=True)).chosen
        masks, seconds, refused = 0, 0.0, Counter[str]()
        for table, rows in zip(read_ahead(parts, ("error", "seconds", "num_masks")), chosen, strict=True):
            seconds += pc.sum(table["seconds"].cast(pa.float64())).as_py() or 0.0
            current = table.filter(pa.array(rows))
            masks += pc.sum(current["num_masks"]).as_py() or 0
            refused.update(reason for reason in current["error"].to_pylist() if reason is not None)
        return StoreInfo(
            uri=uri,
            stage=known.stage,
            fingerprint=known.fingerprint,
            created=known.created,
            content=known.content,
            images=int(np.sum([rows.sum() for rows in chosen])),
            masks=masks,
            refused=dict(refused.most_common()),
            bytes=sum(part.size for part in parts),
            parts=len(parts),
            seconds=seconds,
            cost=seconds * known.price_per_second if known.price_per_second is not None else None,
        )

    return with_parts(uri, count)


def catalog(root_uri: str) -> list[StoreInfo]:
    """The stores directly in a folder, by name; those that cannot be read with their `problem`.

    Raises:
        StoreError: the folder cannot be listed.
    """
    found = []
    for uri in commits.subfolders(root_uri):
        try:
            if files.exists(files.join(uri, manifest.NAME)):
                found.append(describe(uri, manifest.read(uri)))
        except (StoreError, SourceError) as error:
            found.append(StoreInfo(uri=uri, content={}, refused={}, problem=str(error)))
    return found
