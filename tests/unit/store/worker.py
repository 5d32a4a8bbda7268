"""A process of its own for the store's tests, which kill it: `python worker.py WHAT STORE ...`. Says what it did."""

import random
import resource
import sys
import time

import numpy as np

from segray.errors import StoreError
from segray.masks.instances import Instances
from segray.store import Store
from segray.store.rows import ImageRow, LabeledRow


def labeled(name: str) -> LabeledRow:
    image = ImageRow(image_id=name, uri=f"/photos/{name}", version="1")
    number = int(name)
    if number % 10 == 9:
        return LabeledRow(image=image, error="damaged")
    masks = np.random.default_rng(number).random((number % 5, 6, 8)) < 0.5
    return LabeledRow(image=image, instances=Instances.from_masks(masks, provenance="sam:nano"))


def say(*words: object) -> None:
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


def label(store: Store, first: str, last: str, seed: str) -> None:
    """Compute what is missing in parts of 4, merging now and then, as a job does that is started again and again."""
    names = [str(number) for number in range(int(first), int(last))]
    random.Random(seed).shuffle(names)
    asked = [ImageRow(image_id=name, uri="", version="1") for name in names]
    left = list(store.missing(asked))
    say("ready")
    for number, start in enumerate(range(0, len(left), 4)):
        part = [image.image_id for image in left[start : start + 4]]
        say("computed", *part)
        store.write_part([labeled(name) for name in part])
        say("committed", *part)
        if number % 4 == 3:
            say("merging")
            with store.lease("worker") as lease:
                store.compact(lease=lease, part_bytes=random.Random(number).choice([5_000, 60_000, 10**8]))
    say("done")


def write(store: Store, first: str, last: str, seed: str) -> None:
    """Parts of 4, nothing asked first."""
    names = [str(number) for number in range(int(first), int(last))]
    random.Random(seed).shuffle(names)
    say("ready")
    for start in range(0, len(names), 4):
        store.write_part([labeled(name) for name in names[start : start + 4]])
    say("done")


def hold(store: Store) -> None:
    with store.lease("worker"):
        say("ready")
        time.sleep(600)


def fill(store: Store, num_bytes: str) -> None:
    """Work where no file may grow beyond some bytes, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(num_bytes), int(num_bytes)))
    for work in (lambda: store.write_part([labeled(str(number)) for number in range(1, 2000)]), store.compact):
        try:
            work()
        except StoreError as error:
            say(error)


if __name__ == "__main__":
    globals()[sys.argv[1]](Store.open(sys.argv[2]), *sys.argv[3:])
