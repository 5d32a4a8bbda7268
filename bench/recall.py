"""Recall of a store's masks against a COCO file: `python -m bench.recall STORE IMAGES ANNOTATIONS`."""

import argparse
import json
from pathlib import Path

from segray.evaluation.recall import average_recall
from segray.formats.coco import CocoSource
from segray.formats.registry import open_source
from segray.store import Store
from segray.store.rows import labeled_rows


def main() -> None:
    """Print AR@1000 over the images that both have."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("images", type=Path)
    parser.add_argument("annotations", type=Path)
    given = parser.parse_args()
    truth = open_source(CocoSource(uri=str(given.images), annotations=str(given.annotations)))
    pairs = []
    for batch in Store.open(given.store).rows():
        for row in labeled_rows(batch):
            true = truth.instances(row.image.image_id)
            if row.instances is not None and true is not None:
                pairs.append((row.instances, true))
    masks, objects = (sum(len(pair[which]) for pair in pairs) for which in (0, 1))
    figures = {"images": len(pairs), "masks": masks, "objects": objects, "AR@1000": round(average_recall(pairs), 4)}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
