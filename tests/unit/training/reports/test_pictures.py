"""Panels as pictures: what is right can be seen, whatever else was found there; of label maps what is wrong."""

import base64

import cv2
import numpy as np

from segray.masks.instances import Instances
from segray.masks.semantic import from_map
from segray.training.reports.panels import Panel
from segray.training.reports.pictures import RIGHT_RGB, WRONG_RGB, panel_card


def seen(data_uri: str) -> np.ndarray:
    data = base64.b64decode(data_uri.partition(",")[2])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1].astype(int)


def test_a_right_mask_lies_over_wrong_ones_in_it() -> None:
    masks = np.zeros((2, 400, 400), dtype=bool)
    masks[0, 100:300, 100:300] = True
    masks[1, 150:250, 150:350] = True
    true = Instances.from_masks(masks[:1], provenance="gt", classes=[0])
    found = Instances.from_masks(masks, provenance="student", classes=[0, 0])
    columns = (("Truth", true), ("Student", found))
    panel = Panel(image_id="a", pixels=np.zeros((400, 400, 3), dtype=np.uint8), columns=columns)
    judged = seen(panel_card(panel, ["cell"], maps=False).pictures[1].judged)
    for place, tone in (((200, 200), RIGHT_RGB), ((200, 330), WRONG_RGB)):
        assert np.argmax(judged[place]) == np.argmax(tone)


def test_of_a_label_map_the_background_stays_as_it_is_and_errors_are_marked() -> None:
    true = np.zeros((400, 400), dtype=np.uint8)
    true[:, 200:] = 1
    true[:100] = 255
    found = true.copy()
    found[300:] = 1 - true[300:]
    found[200:250] = 255
    columns = (("Truth", from_map(true, provenance="gt")), ("Student", from_map(found, provenance="student")))
    panel = Panel(image_id="a", pixels=np.full((400, 400, 3), 90, dtype=np.uint8), columns=columns)
    student = panel_card(panel, ["background", "cell"], maps=True).pictures[1]
    assert student.score is not None
    assert student.score.caption == "50.0% right"
    masks, judged = seen(student.masks), seen(student.judged)
    assert np.abs(masks[150, 100] - 90).max() < 6
    assert np.abs(masks[150, 300] - 90).max() > 30
    assert masks[225, 100].mean() > 96  # grey over 90
    for row, wrong in ((150, False), (225, True), (350, True), (50, False)):
        assert (np.argmax(judged[row, 100]) == np.argmax(WRONG_RGB) and np.ptp(judged[row, 100]) > 40) == wrong
