"""SEPL's vote on one core: over run lengths, and as the dense matrix product. `python -m bench.voting [--quick]`.

Images of 500 x 375 with 100 masks of all sizes and three classes. CPU seconds, which other work changes little.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from segray.masks.instances import Instances
from segray.methods.sepl.config import VoteRule
from segray.methods.sepl.vote import vote

SIZE_HW, MASKS, CLASSES = (375, 500), 100, (3, 7, 12)


def main(seconds: float) -> None:
    """Print images per second of each way, and the ratio."""
    masks, classes = draw(np.random.default_rng(0))
    quick, dense = (
        rate(way, seconds) for way in (lambda: vote(masks, classes, VoteRule()), lambda: product(masks, classes))
    )
    table = Table("images of 500 x 375, 100 masks", "images per CPU second", "ratio")
    table.add_row("dense matrix product", f"{dense:.0f}", "1")
    table.add_row("run lengths", f"{quick:.0f}", f"{quick / dense:.1f}")
    Console(width=110).print(table)


def draw(rng: np.random.Generator) -> tuple[Instances, npt.NDArray[np.uint8]]:
    """Wavy blobs, and a class map that three of them make."""
    y, x = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    found = []
    for _ in range(MASKS):
        centre, extent = rng.uniform(0, SIZE_HW), np.exp(rng.uniform(np.log(8), np.log(140)))
        angle = np.arctan2(y - centre[0], x - centre[1])
        reach = extent * (1 + 0.3 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.1 * np.sin(11 * angle))
        found.append(np.hypot(y - centre[0], x - centre[1]) < reach)
    classes = np.zeros(SIZE_HW, np.uint8)
    for index, one in enumerate(CLASSES):
        classes[found[7 * index]] = one
    return Instances.from_masks(np.stack(found), provenance="sam"), classes


def product(masks: Instances, classes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the overlaps alone as one dense product: masks (N, HW) by one-hot classes (HW, C)."""
    dense = masks.to_masks().reshape(len(masks), -1).astype(np.float32)
    one_hot = (classes.reshape(-1, 1) == np.arange(21)).astype(np.float32)
    return np.asarray(dense @ one_hot)


def rate(work: Callable[[], object], seconds: float) -> float:
    """Calls per CPU second."""
    work()
    started, number = time.process_time(), 0
    while time.process_time() - started < seconds:
        work()
        number += 1
    return number / (time.process_time() - started)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less time for each")
    main(1.0 if parser.parse_args().quick else 10.0)
