"""The classes of Cityscapes and how its label files number them (`cityscapesscripts.helpers.labels`).

A label file holds label ids. In instance files a pixel of an object is 1000 times its class's label id and the object's
number; a label id by itself is a region of many objects, or a class without objects.
"""

from typing import Final

CLASS_IDS: Final = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
"""Label ids of the classes that evaluation knows, in the order of train ids."""
OBJECT_CLASSES: Final = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
"""Classes whose objects are told apart and evaluated."""
VOID_IDS: Final = {
    "unlabeled": 0,
    "ego vehicle": 1,
    "rectification border": 2,
    "out of roi": 3,
    "static": 4,
    "dynamic": 5,
    "ground": 6,
    "parking": 9,
    "rail track": 10,
    "guard rail": 14,
    "bridge": 15,
    "tunnel": 16,
    "polegroup": 18,
    "caravan": 29,
    "trailer": 30,
}
"""Label ids of what evaluation does not know."""
LABEL_IDS: Final = CLASS_IDS | VOID_IDS
COUNTED: Final = frozenset({*OBJECT_CLASSES, "caravan", "trailer"})
"""Classes whose objects have numbers in instance files."""
NOT_DRAWN: Final = "license plate"
"""The class of polygons that no label file shows."""
OBJECTS_FROM: Final = 1000
"""Smallest value of an object's pixels; also what a label id is multiplied by."""
