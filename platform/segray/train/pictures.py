"""Panels as pictures for a page: what was found, and what of it is right. Knows pixels and instances; no HTML."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segray.masks import matching
from segray.masks.instances import Instances
from segray.pages import overlay
from segray.pages.page import data_uri
from segray.train.panels import Panel

SIDE_PX = 400
"""Longer side of a picture; smaller images are enlarged, so that outlines are fine."""

RIGHT_RGB, WRONG_RGB, TRUE_RGB = (20, 205, 182), (255, 112, 48), (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class Score:
    """How many instances of a picture are right (class, and IoU from 0.5 on), and how many there are to be found."""

    right: int
    wrong: int
    true: int


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One column of a panel."""

    title: str
    masks: str
    """Coloured by object or class, as a data URI."""
    judged: str
    """Coloured by right and wrong, what is missed outlined."""
    score: Score | None
    """None for the truth itself."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One panel."""

    image_id: str
    width: int
    height: int
    plain: str
    """The image alone, as a data URI."""
    pictures: tuple[Picture, ...]


def card(panel: Panel, classes: Sequence[str]) -> Card:
    """A panel's pictures; its first column is taken for the truth."""
    true = panel.columns[0][1]
    height, width = panel.pixels.shape[:2]
    plain, _ = overlay.enlarged(overlay.fit(panel.pixels, SIDE_PX), Instances.empty((height, width)), SIDE_PX)
    return Card(
        image_id=panel.image_id,
        width=width,
        height=height,
        plain=data_uri(plain),
        pictures=tuple(
            _picture(panel, title, found, None if index == 0 else true, len(classes))
            for index, (title, found) in enumerate(panel.columns)
        ),
    )


def legend(classes: Sequence[str]) -> list[tuple[str, str]]:
    """Name and CSS colour of each class; none where masks are coloured one by one."""
    if len(classes) < 2:
        return []
    return [(name, f"rgb({r} {g} {b})") for name, (r, g, b) in zip(classes, overlay.colours(len(classes)), strict=True)]


def total(cards: Sequence[Card], column: int) -> Score:
    """One column's scores over all panels."""
    scores = [one.pictures[column].score for one in cards]
    known = [score for score in scores if score is not None]
    return Score(
        right=sum(one.right for one in known),
        wrong=sum(one.wrong for one in known),
        true=sum(one.true for one in known),
    )


def _picture(panel: Panel, title: str, found: Instances, true: Instances | None, num_classes: int) -> Picture:
    pixels, larger = overlay.enlarged(panel.pixels, found, SIDE_PX)
    drawn = overlay.draw(pixels, larger, max_side=SIDE_PX, by="class" if num_classes > 1 else "mask")
    if true is None:
        judged, score = overlay.draw(_faded(pixels), larger, max_side=SIDE_PX, by=_tones(len(found), TRUE_RGB)), None
    else:
        rows, columns = matching.right(found, true)
        missed = true.filter(np.setdiff1d(np.arange(len(true)), columns))
        score = Score(right=len(rows), wrong=len(found) - len(rows), true=len(true))
        tones = _tones(len(found), WRONG_RGB)
        tones[rows] = RIGHT_RGB
        right = np.isin(np.arange(len(found)), rows)
        outlined = overlay.draw(
            _faded(pixels),
            overlay.enlarged(panel.pixels, missed, SIDE_PX)[1],
            by=_tones(len(missed), TRUE_RGB),
            fill=0.0,
        )
        judged = overlay.draw(outlined, larger, max_side=SIDE_PX, by=tones, fill=0.65, above=right)
    return Picture(title=title, masks=data_uri(drawn), judged=data_uri(judged), score=score)


def _tones(number: int, rgb: tuple[int, int, int]) -> overlay.Pixels:
    return np.tile(np.array(rgb, dtype=np.uint8), (number, 1))


def _faded(pixels: overlay.Pixels) -> overlay.Pixels:
    """Grey and dimmed: so that colours say right and wrong, whatever the image's own are."""
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.repeat((35 + 0.42 * grey).astype(np.uint8)[:, :, None], 3, axis=2)
