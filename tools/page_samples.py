"""Draws the page's samples: scenes of family B that no training uses. `python -m tools.page_samples`."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from segray.demo.world import scene

FOLDER = Path(__file__).parents[1] / "platform/segray/serving/page/samples"
SEEDS = (70_002, 70_014, 70_005, 70_028, 70_041)
SIDE = 384
QUALITY = 66


def main() -> None:
    """One JPEG per seed, and `samples.json`: file names, and what is in each for those who do not see it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    listed = []
    for number, seed in enumerate(SEEDS, start=1):
        found = scene("b", seed, SIDE)
        name = f"scene-{number}.jpg"
        Image.fromarray(found.image).save(FOLDER / name, quality=QUALITY, optimize=True)
        listed.append({"file": name, "shows": _words(thing.class_name for thing in found.objects)})
    (FOLDER / "samples.json").write_text(json.dumps(listed, indent=1) + "\n")


def _words(names: Iterable[str]) -> str:
    """`2 x gear, leaf`."""
    return ", ".join(name if number == 1 else f"{number} x {name}" for name, number in Counter(names).items())


if __name__ == "__main__":
    main()
