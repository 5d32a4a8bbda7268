"""Label a folder of images with Segment Anything, look at the masks, and export them for another tool.

python examples/label_a_folder.py photos/
python examples/label_a_folder.py            (draws a few scenes and labels those)
"""

import argparse
from pathlib import Path

import segray
from segray.demo.coco import write_world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="images, searched in all folders below it")
    parser.add_argument("--out", type=Path, default=Path("out/examples/label"))
    parser.add_argument("--quick", action="store_true", help="two small scenes, few points")
    options = parser.parse_args()

    # Any folder will do. Without one: scenes that the shipped model has never seen.
    number, side = (2, 96) if options.quick else (12, 256)
    folder = (
        options.folder or write_world(options.out / "scenes", "b", number, seed=50_000, size=side).parent / "images"
    )

    # Run this again: nothing is labeled twice. A real model is `sam="vit_h", weights="sam_vit_h_4b8939.pth"`.
    points = 6 if options.quick else 32
    store = segray.label(folder, sam="nano", points_per_side=points, stores=options.out / "stores")
    print(f"{len(store)} images, {store.info().masks} masks in {store.uri}")

    # The store streams: it may hold more images than fit into memory.
    for image in store:
        if image.error is not None:
            print(f"{image.image_id} was refused: {image.error} ({image.detail})")
            continue
        large = image.instances[image.instances.areas > 100]
        print(image.image_id, large)
        large.plot(image.uri).save(options.out / f"{Path(image.image_id).stem}-masks.png")

    print(store.export("coco", options.out / "masks.json", overwrite=True))


if __name__ == "__main__":
    main()
