"""Many masks of one image at once, as the stretches of pixels inside them: measured and united without dense arrays.

Knows run lengths (see `segray.masks.rle`); knows no scores and no classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from segray.masks import rle

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class MapRuns:
    """A class map as its runs, column-major: what lies before a pixel is known without counting."""

    values: npt.NDArray[np.uint8]
    """(K,) the values that are present, without those left out."""
    areas: Ints
    """(K,) pixels of each."""
    run_starts: Ints
    """(R,) first pixel of each run."""
    run_regions: npt.NDArray[np.bool_]
    """(R, K) whether a run is of a region."""
    counts: Ints
    """(R, K) pixels of each region before each run."""
    run_of: npt.NDArray[np.int32]
    """(H * W + 1,) the run of each pixel; behind the last one, the last."""

    @classmethod
    def of(cls, flat: npt.NDArray[np.uint8], without: Sequence[int] = ()) -> Self:
        """The regions of a flat column-major class map (H * W,), of all values but some."""
        run_starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
        lengths = np.diff(run_starts, append=len(flat))
        values = np.setdiff1d(flat[run_starts], np.asarray(without, dtype=np.uint8))
        run_regions = flat[run_starts][:, None] == values
        until = np.cumsum(run_regions * lengths[:, None], axis=0)
        run_of = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        return cls(
            values=values,
            areas=until[-1],
            run_starts=run_starts,
            run_regions=run_regions,
            counts=until - run_regions * lengths[:, None],
            run_of=np.append(run_of, run_of[-1]),
        )

    def until(self, positions: Ints) -> Ints:
        """Pixels of each region before each of P positions: (P, K)."""
        runs = self.run_of[positions]
        return self.counts[runs] + self.run_regions[runs] * (positions - self.run_starts[runs])[:, None]


@dataclass(frozen=True, kw_only=True)
class MaskRuns:
    """S stretches [start, end) of column-major pixels, of N masks one after the other; a mask's do not overlap."""

    starts: Ints
    """(S,) first pixel inside."""
    ends: Ints
    """(S,) first pixel that is not."""
    owners: Ints
    """(S,) the mask, rising."""
    num_masks: int
    """N; masks without a pixel own no stretch."""
    size_hw: tuple[int, int]
    """Of the image."""

    @classmethod
    def from_counts(cls, counts: Sequence[rle.Counts], size_hw: tuple[int, int]) -> Self:
        """All stretches of masks of one size."""
        runs, owners, order = _runs(counts)
        # The runs of a mask add up to the image, so one sum runs through all masks.
        edges = np.cumsum(runs) - owners * (size_hw[0] * size_hw[1])
        inside = np.flatnonzero((order % 2 == 1) & (runs > 0))
        starts = edges[inside] - runs[inside]
        return cls(
            starts=starts,
            ends=edges[inside],
            owners=owners[inside],
            num_masks=len(counts),
            size_hw=(size_hw[0], size_hw[1]),
        )

    def overlaps(self, regions: MapRuns) -> Ints:
        """Pixels that each mask shares with each of K regions of the same image: (N, K)."""
        before, after = regions.until(self.starts), regions.until(self.ends)
        columns = [np.bincount(self.owners, weights=shared, minlength=self.num_masks) for shared in (after - before).T]
        return np.stack(columns, axis=1).astype(np.int64) if columns else np.zeros((self.num_masks, 0), dtype=np.int64)

    def union(self, chosen: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.bool_]:
        """Flat column-major pixels (H * W,) inside any of the chosen masks (N,); None: of all."""
        kept = slice(None) if chosen is None else chosen[self.owners]
        # Both ends of a stretch in one number: one sort, by start.
        packed = np.sort((self.starts[kept] << 32) | self.ends[kept])
        starts, reach = packed >> 32, np.maximum.accumulate(packed & 0xFFFFFFFF)
        begins = np.concatenate([[True], starts[1:] > reach[:-1]])[: len(starts)]
        edges = np.stack([starts[begins], reach[np.roll(begins, -1)]], axis=1).reshape(-1)
        lengths = np.diff(np.concatenate([[0], edges, [self.size_hw[0] * self.size_hw[1]]]))
        return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)


def _runs(counts: Sequence[rle.Counts]) -> tuple[Ints, Ints, Ints]:
    """The run lengths of all masks (R,), whose each is, and the which of its mask; see `rle.to_runs` for the format."""
    if not len(counts):
        return (np.zeros(0, dtype=np.int64),) * 3
    values, lengths = _values(counts)
    starts = np.cumsum(lengths) - lengths
    owners = np.repeat(np.arange(len(counts)), lengths)
    order = np.arange(len(values)) - starts[owners]
    first = values[starts]
    values[starts] = 0
    for parity in (0, 1):
        total = np.concatenate([[0], np.cumsum(values[parity::2])])
        own = owners[parity::2]
        values[parity::2] = total[1:] - total[(starts[own] - parity + 1) // 2]
    values[starts] = first
    return values, owners, order


def _values(counts: Sequence[rle.Counts]) -> tuple[Ints, Ints]:
    """The numbers of all masks as they are written (R,), and how many each mask has (N,)."""
    characters = np.frombuffer(b"".join(counts), dtype=np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(characters & 0x20 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    shifts = 5 * (np.arange(len(characters)) - np.repeat(first, last - first + 1))
    values = np.add.reduceat((characters & 0x1F) << shifts, first)
    values -= (characters[last] & 0x10 != 0).astype(np.int64) << (5 * (last - first + 1))
    stops = np.cumsum([len(one) for one in counts])
    lengths = np.diff(np.searchsorted(last, stops), prepend=0)
    return values, lengths
