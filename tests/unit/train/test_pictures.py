"""Panels as pictures: what is right can be seen, whatever else was found there."""

import base64

import cv2
import numpy as np

from segray.masks.instances import Instances
from segray.train.panels import Panel
from segray.train.pictures import RIGHT_RGB, WRONG_RGB, card


def test_a_right_mask_lies_over_wrong_ones_in_it() -> None:
    masks = np.zeros((2, 400, 400), dtype=bool)
    masks[0, 100:300, 100:300] = True
    masks[1, 150:250, 150:350] = True
    true = Instances.from_masks(masks[:1], provenance="gt", classes=[0])
    found = Instances.from_masks(masks, provenance="student", classes=[0, 0])
    columns = (("Truth", true), ("Student", found))
    panel = Panel(image_id="a", pixels=np.zeros((400, 400, 3), dtype=np.uint8), columns=columns)
    data = base64.b64decode(card(panel, ["cell"]).pictures[1].judged.partition(",")[2])
    judged = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    for place, tone in (((200, 200), RIGHT_RGB), ((200, 330), WRONG_RGB)):
        assert np.argmax(judged[place]) == np.argmax(tone)
