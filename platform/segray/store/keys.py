"""Sets of 16-byte keys that stay cheap at a hundred million: sorted, in shards by first byte, memory-mapped if large.

`KeySet` answers which of some keys it holds, shard by shard. `committed` gives the keys of a store: those that the last
compaction left in `keys/` (16 bytes a key), plus those of the parts written since, read from the parts. The shards are
a copy: where they do not fit the parts that are there, they are passed over, and everything is read from the parts.
"""

import json
import logging
import shutil
import uuid
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from pyarrow import fs

from segray.errors import SourceError
from segray.storage import commits, files
from segray.store.out_of_core import KEY, PARTITIONS, PartitionedRecords, Records, first_bytes
from segray.store.parts import Part, keys_of, read_ahead

FOLDER = "keys"
INDEX = "index.json"

_COLUMNS = ("key", "error")
_log = logging.getLogger(__name__)


class KeySet:
    """Sorted keys: layers of one shard, or of 256 by first byte."""

    def __init__(self, layers: Sequence[Sequence[Records]], scratch: "_Scratch | None" = None) -> None:
        """`scratch` holds the files that shards are mapped from, and goes with the set."""
        self._layers = layers
        self._scratch = scratch

    @classmethod
    def of(cls, keys: Iterable[bytes]) -> "KeySet":
        """A set of a few keys, in memory."""
        return cls([[np.unique(as_keys(keys))]])

    @property
    def nbytes(self) -> int:
        """Bytes of all keys, most of them in files where there are many."""
        return sum(shard.nbytes for layer in self._layers for shard in layer)

    def contains(self, keys: Records) -> npt.NDArray[np.bool_]:
        """(N,) which of these keys are in the set."""
        order = np.argsort(keys)
        asked = keys[order]
        found = np.zeros(len(keys), bool)
        for layer in self._layers:
            for shard, start, stop in _shares(layer, asked):
                found[order[start:stop]] |= _in_sorted(shard, asked[start:stop])
        return found


def as_keys(keys: Iterable[bytes]) -> Records:
    """(N,) keys as an array."""
    return np.frombuffer(b"".join(keys), KEY)


def committed(store_uri: str, parts: Sequence[Part], *, errors: bool) -> KeySet:
    """The keys that these parts hold, with or without those that have only rows with an error.

    Raises:
        PartMoved, StoreError: as `parts.read_groups`.
    """
    scratch = _Scratch()
    covered, layers = _read_shards(store_uri, parts, scratch.folder, errors=errors)
    rest = PartitionedRecords(KEY)
    for table in read_ahead([part for part in parts if covered.get(part.name) != part.version], _COLUMNS):
        keys = keys_of(table)
        rest.append(keys if errors else keys[pc.is_null(table["error"]).to_numpy()])
    layers.append([_mapped(shard, scratch.folder) for shard in _sorted_shards(rest)])
    return KeySet(layers, scratch)


def write_shards(store_uri: str, parts: Sequence[Part]) -> None:
    """Leave the keys of all these parts as sorted shards, and delete the shards that were there before.

    Raises:
        PartMoved, StoreError: as `parts.read_groups`, or they could not be written.
    """
    good, bad = PartitionedRecords(KEY), PartitionedRecords(KEY)
    for table in read_ahead(parts, _COLUMNS):
        keys, ok = keys_of(table), pc.is_null(table["error"]).to_numpy()
        good.append(keys[ok])
        bad.append(keys[~ok])
    name = uuid.uuid4().hex
    folder = files.join(store_uri, FOLDER, name)
    index = _Index(
        folder=name,
        parts={part.name: part.version for part in parts},
        good=_write_all(folder, "good", good),
        bad=_write_all(folder, "bad", bad),
    )
    commits.commit(files.join(store_uri, FOLDER, INDEX), json.dumps(asdict(index)).encode())
    for other in commits.subfolders(files.join(store_uri, FOLDER)):
        if not other.endswith(name):
            commits.delete_folder(other)


def drop_shards(store_uri: str) -> None:
    """Delete the shards: the next question reads the parts.

    Raises:
        StoreError: they cannot be deleted.
    """
    commits.delete(files.join(store_uri, FOLDER, INDEX))
    commits.delete_folder(files.join(store_uri, FOLDER))


class _Scratch:
    """A temporary folder that goes with this object."""

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="segray-keys-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class _Index:
    """What `keys/index.json` says."""

    folder: str
    parts: dict[str, str]
    """The parts whose keys the shards hold, by name, with their versions."""
    good: list[int]
    """Keys in each shard of those computed without an error."""
    bad: list[int]
    """The same of those with one."""


def _read_shards(
    store_uri: str, parts: Sequence[Part], folder: Path, *, errors: bool
) -> tuple[dict[str, str], list[list[Records]]]:
    """Versions of the parts that the shards stand for, and the shards as layers; nothing where they fit no more.

    A part that was written again has the same keys, and perhaps fewer errors: its shards hold, and it is read as well.
    """
    uri = files.join(store_uri, FOLDER, INDEX)
    try:
        data = files.read_if_there(uri)
        if data is None:
            return {}, []
        index = _Index(**json.loads(data))
        if not index.parts.keys() <= {part.name for part in parts}:
            return {}, []
        where = files.join(store_uri, FOLDER, index.folder)
        layers = [_map_all(where, "good", index.good, folder)]
        layers += [_map_all(where, "bad", index.bad, folder)] if errors else []
    except (SourceError, OSError, ValueError, TypeError) as error:
        _log.warning(
            "%s: the key shards cannot be used (%s), keys are read from the parts; compact makes new ones", uri, error
        )
        return {}, []
    return index.parts, layers


def _write_all(folder: str, kind: str, keys: PartitionedRecords) -> list[int]:
    counts = []
    for number, shard in enumerate(_sorted_shards(keys)):
        commits.commit(files.join(folder, _shard_name(kind, number)), shard.tobytes())
        counts.append(len(shard))
    return counts


def _map_all(where: str, kind: str, counts: Sequence[int], folder: Path) -> list[Records]:
    """The shards of one kind, memory-mapped; those of an object store are copied into `folder` first."""
    if len(counts) not in (1, PARTITIONS):
        raise ValueError(f"{len(counts)} shards, expected 1 or {PARTITIONS}")
    shards = []
    for number, count in enumerate(counts):
        uri = files.join(where, _shard_name(kind, number))
        system, path = files.filesystem(uri)
        local = Path(path)
        if not isinstance(system, fs.LocalFileSystem):
            local = folder / _shard_name(kind, number)
            local.write_bytes(files.read_bytes(uri))
        if local.stat().st_size != count * KEY.itemsize:
            raise ValueError(f"{uri} has {local.stat().st_size} bytes, expected {count} keys")
        shards.append(_map(local) if count else np.empty(0, KEY))
    return shards


def _shard_name(kind: str, number: int) -> str:
    return f"{kind}-{number:03d}.keys"


def _sorted_shards(keys: PartitionedRecords) -> Iterator[Records]:
    return (np.unique(partition) for partition in keys)


def _mapped(shard: Records, folder: Path) -> Records:
    """The shard out of memory, where it is more than a little."""
    if shard.nbytes < 2**18:
        return shard
    path = folder / f"{uuid.uuid4().hex}.keys"
    shard.tofile(path)
    return _map(path)


def _map(path: Path) -> Records:
    # As a plain array: every slice of a memmap object runs Python code.
    return np.memmap(path, KEY, mode="r").view(np.ndarray)


def _shares(layer: Sequence[Records], asked: Records) -> Iterator[tuple[Records, int, int]]:
    """Each shard with the range of the sorted keys that only it can hold."""
    if len(layer) == 1:
        yield layer[0], 0, len(asked)
        return
    edges = np.searchsorted(first_bytes(asked), np.arange(PARTITIONS + 1))
    for number in np.flatnonzero(edges[1:] > edges[:-1]):
        yield layer[int(number)], int(edges[number]), int(edges[number + 1])


def _in_sorted(shard: Records, asked: Records) -> npt.NDArray[np.bool_]:
    if not len(shard):
        return np.zeros(len(asked), bool)
    places = np.minimum(np.searchsorted(shard, asked), len(shard) - 1)
    return np.asarray(shard[places] == asked)
