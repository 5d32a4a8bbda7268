"""What was found, as COCO's results format has it: numbers of images and categories as in the annotation file.

Whatever reads an annotation file together with such results, as pycocotools' `loadRes` does, then finds its own
numbers. Where the truth is no COCO file, the numbers are those that an export of it writes.
"""

from collections.abc import Sequence
from typing import Any

from segray.formats.coco.ids import CocoIds
from segray.masks.instances import Instances


def coco_results(image_id: str, found: Instances, classes: Sequence[str], ids: CocoIds) -> list[dict[str, Any]]:
    """Return the entries of one image, best first as they are found.

    Args:
        image_id: names the image.
        found: what was found on it, of classes that have names.
        classes: names by class id.
        ids: the annotation file's numbers.
    """
    height, width = found.size_hw
    return [
        {
            "image_id": ids.image(image_id),
            "category_id": ids.category(class_id, classes[class_id]),
            "segmentation": {"size": [height, width], "counts": counts.decode("ascii")},
            "score": float(score),
            "file_name": image_id,
            "category": classes[class_id],
        }
        for counts, score, class_id in zip(found.counts, found.scores, found.classes.tolist(), strict=True)
    ]
