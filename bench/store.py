"""What knowing is worth: the store's anti-join at 1 M and 10 M synthetic keys. `python -m bench.store`.

Per size: reading the keys out of the parts (no shards yet), leaving sorted shards, opening those, and asking: bare
keys, half of them known, and whole `ImageRow`s through `Store.missing`, which also hashes each.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from segray.storage import files
from segray.store import KeySet, Store, keys, parts
from segray.store.part_listing import with_parts
from segray.store.rows import ImageRow

T = TypeVar("T")

PART_ROWS = 100_000
ASKED = 1_000_000
CHUNK = 16_384


def main(millions: list[float]) -> None:
    """Print a table, a line per size; rates are per CPU second, which other work on the machine changes little."""
    table = Table("keys", "from parts", "write shards", "open shards", "ask keys", "ask rows", "bytes per key")
    for size in millions:
        with TemporaryDirectory(prefix="segray-bench-") as folder:
            table.add_row(*measure(Store.create(folder, "masks", {"bench": size}), round(size * 1e6)))
    Console(width=110).print(table)


def measure(store: Store, number: int) -> list[str]:
    """One size's line."""
    random = np.random.default_rng(0)
    for first in range(0, number, PART_ROWS):
        write_part(store, first, min(PART_ROWS, number - first), random)
    _, read_s = timed(store.committed)
    _, write_s = timed(lambda: with_parts(store.uri, lambda found: keys.write_shards(store.uri, found)))
    known, open_s = timed(store.committed)
    asked = np.frombuffer(random.bytes(16 * ASKED), "S16").copy()
    asked[::2] = some_known(store, ASKED // 2)
    _, keys_s = timed(lambda: [known.contains(asked[start : start + CHUNK]) for start in range(0, ASKED, CHUNK)])
    num_rows = ASKED // 5
    left, rows_s = timed(lambda: sum(1 for _ in store.missing(images(num_rows))))
    assert left == num_rows, f"{left} rows of {num_rows} asked"
    return [
        f"{number:,}",
        rate(number, read_s),
        rate(number, write_s),
        f"{open_s * 1000:.0f} ms",
        rate(ASKED, keys_s),
        rate(num_rows, rows_s - open_s),
        f"{bytes_per_key(known, number):.2f}",
    ]


def write_part(store: Store, first: int, number: int, random: np.random.Generator) -> None:
    """A part of rows that hold an error, with random keys: what is measured never looks at masks."""
    hashes = np.sort(np.frombuffer(random.bytes(16 * number), "S16"))
    names = pa.array(np.arange(first, first + number)).cast(pa.string())
    binary = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), number, [None, pa.py_buffer(hashes.tobytes())])
    columns = {field.name: pa.nulls(number, field.type) for field in parts.PART}
    columns |= {"image_id": names, "uri": names, "version": names, "key": binary, "image_key": binary}
    columns |= {"seconds": pa.array(np.zeros(number, np.float32)), "num_masks": pa.array(np.zeros(number, np.int32))}
    columns |= {"written": pa.array(np.zeros(number, np.int64)).cast(parts.PART.field("written").type)}
    columns |= {
        "error": pa.array(["truncated"] * number),
        "masks": pa.array([[]] * number, parts.PART.field("masks").type),
    }
    with parts.PartWriter() as writer:
        writer.write(pa.table(columns, schema=parts.PART))
        files.write_bytes_atomic(files.join(store.uri, parts.FOLDER, f"batch-{first:012d}.parquet"), writer.finish())


def some_known(store: Store, number: int) -> np.ndarray:
    """Keys that the store holds, from its first parts, again and again where they are few."""
    found = with_parts(
        store.uri, lambda listed: [parts.keys_of(table) for table in parts.read_ahead(listed[:5], ("key",))]
    )
    return np.resize(np.concatenate(found), number)


def images(number: int) -> Iterator[ImageRow]:
    """Rows of a source, none of them known."""
    return (ImageRow(image_id=f"photos/{place}.jpg", uri="", version="1") for place in range(number))


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What `work` gives, and the CPU seconds it took, of all threads."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def rate(number: int, seconds: float) -> str:
    """Keys per CPU second, in millions."""
    return f"{number / seconds / 1e6:.2f} M/s"


def bytes_per_key(known: KeySet, number: int) -> float:
    """What knowing a key costs."""
    return known.nbytes / number


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("millions", nargs="*", type=float, default=[1, 10], help="sizes, in millions of keys")
    parser.add_argument("--quick", action="store_true", help="one small size")
    arguments = parser.parse_args()
    main([0.2] if arguments.quick else arguments.millions)
