"""Write and run `tour.ipynb`, the notebook with pictures: python examples/build_tour.py

The cells stand here, where they can be reviewed; the notebook is what comes out. SEGRAY_QUICK=1 runs it small.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

CELLS = (
    "# A tour of segray\n\nLabel images with Segment Anything, look at the masks, ask for single objects, predict with"
    " a student. Nothing is downloaded: the models ship with segray, the scenes are drawn here.",
    """import io
import os
import tempfile
import warnings
from pathlib import Path

from IPython.display import Image as Picture
from PIL import Image

import segray
from segray.demo.coco import write_world

warnings.filterwarnings("ignore", message="IProgress not found")
quick = "SEGRAY_QUICK" in os.environ
out = Path(tempfile.mkdtemp())


def show(*images):
    \"\"\"Show pictures side by side, as a JPEG that keeps the notebook small.\"\"\"
    sheet = Image.new("RGB", (sum(image.width for image in images), images[0].height))
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width
    data = io.BytesIO()
    sheet.save(data, "jpeg", quality=85)
    return Picture(data=data.getvalue(), format="jpeg")""",
    "## Label a folder\n\n`segray.label` returns a store. Run the cell again: nothing is labeled twice.",
    """scenes = write_world(out / "scenes", "b", 2 if quick else 6, seed=50_000, size=96 if quick else 256)
photos = scenes.parent / "images"
store = segray.label(photos, points_per_side=6 if quick else 16, stores=out / "stores", progress=False)
len(store), store.info().masks""",
    """images = sorted(store, key=lambda image: image.image_id)[:3]
show(*(image.instances.plot(image.uri) for image in images))""",
    "## Masks are `Instances`\n\nIndex them like an array; every operation returns new ones.",
    """image = images[0]
found = image.instances
large = found[found.areas > found.areas.mean()]
print(found)
print(large)
show(found.plot(image.uri), large.plot(image.uri))""",
    "They leave as COCO annotations, dense masks or `supervision.Detections`; whole stores in your tools' formats.",
    """print(found[0].to_coco(image_id=1)[0]["bbox"], found.to_masks().shape)
store.export("coco", out / "masks.json")""",
    "## Ask for one object\n\nA point or a box gives its mask; the image is encoded once.",
    """sam = segray.load_sam("nano")
small = found[found.areas < found.areas.max() / 8][:1]
box = small.boxes_xyxy
by_box = sam.predict(image.uri, boxes=box)
by_point = sam.predict(image.uri, points=(box[:, :2] + box[:, 2:]) / 2)
show(by_box.plot(image.uri), by_point.plot(image.uri))""",
    "## Predict with a student\n\nThe shipped student knows the classes of other scenes;"
    " `segray.train` makes your own.",
    """from segray.assets import MASK2FORMER_NANO

student = segray.load_student(MASK2FORMER_NANO)
others = write_world(out / "others", "a", 2, seed=7, size=96 if quick else 256).parent / "images"
pictures = sorted(others.iterdir())
predicted = student.predict(pictures, score_threshold=0.3)
show(*(one.plot(picture) for one, picture in zip(predicted, pictures, strict=True)))""",
)


def build() -> NotebookNode:
    """Return the notebook, run from top to bottom; what starts with a heading or a sentence is text."""
    cells = [
        new_code_cell(text, id=f"cell-{index}") if _is_code(text) else new_markdown_cell(text, id=f"cell-{index}")
        for index, text in enumerate(CELLS)
    ]
    notebook = new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False).execute()
    return notebook


def _is_code(text: str) -> bool:
    try:
        compile(text, "cell", "exec")
    except SyntaxError:
        return False
    return not text.startswith("#")


def main(target: Path) -> None:
    nbformat.write(build(), target)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("tour.ipynb"))
