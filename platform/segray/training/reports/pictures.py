"""Panels as pictures for a page: what was found, and what of it is right. Knows pixels and instances; no HTML."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segray.masks import matching
from segray.masks.instances import Instances
from segray.masks.provenance import Provenance
from segray.masks.semantic import BACKGROUND, UNKNOWN, paint
from segray.pages import overlay
from segray.pages.page import data_uri
from segray.training.reports.panels import Panel

SIDE_PX = 400
"""Longer side of a picture; smaller images are enlarged, so that outlines are fine."""

RIGHT_RGB, WRONG_RGB, TRUE_RGB = (20, 205, 182), (255, 112, 48), (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class PanelScore:
    """How many instances of a picture are right (class, and IoU from 0.5 on); of a label map, how many pixels."""

    right: int
    wrong: int
    true: int
    """Those to be found; pixels whose class is known."""
    pixels: bool = False
    """Whether pixels are counted."""

    @property
    def caption(self) -> str:
        """Below a picture."""
        if self.pixels:
            return f"{self._share} right"
        return f"{self.right} of {self.true}" + (f", {self.wrong} wrong" if self.wrong else "")

    def sentence(self, who: str) -> str:
        """In a sentence."""
        if self.pixels:
            return f"{who} is right about {self._share} of the pixels"
        return f"{who} finds {self.right} of {self.true} objects and is wrong {self.wrong} times"

    @property
    def _share(self) -> str:
        return f"{100 * self.right / max(self.true, 1):.1f}%"


@dataclass(frozen=True, kw_only=True)
class PanelImage:
    """One column of a panel."""

    title: str
    masks: str
    """Coloured by object or class, as a data URI."""
    judged: str
    """Coloured by right and wrong; of instances what is missed outlined."""
    score: PanelScore | None
    """None for the truth itself."""


@dataclass(frozen=True, kw_only=True)
class PanelCard:
    """One panel."""

    image_id: str
    width: int
    height: int
    plain: str
    """The image alone, as a data URI."""
    pictures: tuple[PanelImage, ...]


def panel_card(panel: Panel, classes: Sequence[str], *, maps: bool) -> PanelCard:
    """A panel's pictures; its first column is taken for the truth. `maps`: what is shown are label maps."""
    true = panel.columns[0][1]
    height, width = panel.pixels.shape[:2]
    plain, _ = overlay.enlarged(overlay.fit(panel.pixels, SIDE_PX), Instances.empty((height, width)), SIDE_PX)
    draw = _of_map if maps else _of_instances
    return PanelCard(
        image_id=panel.image_id,
        width=width,
        height=height,
        plain=data_uri(plain),
        pictures=tuple(
            draw(panel, title, found, None if index == 0 else true, classes)
            for index, (title, found) in enumerate(panel.columns)
        ),
    )


def total(cards: Sequence[PanelCard], column: int) -> PanelScore:
    """One column's scores over all panels."""
    scores = [one.pictures[column].score for one in cards]
    known = [score for score in scores if score is not None]
    return PanelScore(
        right=sum(one.right for one in known),
        wrong=sum(one.wrong for one in known),
        true=sum(one.true for one in known),
        pixels=any(one.pixels for one in known),
    )


def _of_instances(
    panel: Panel, title: str, found: Instances, true: Instances | None, classes: Sequence[str]
) -> PanelImage:
    pixels, larger = overlay.enlarged(panel.pixels, found, SIDE_PX)
    drawn = overlay.draw(pixels, larger, max_side=SIDE_PX, by="class" if len(classes) > 1 else "mask")
    if true is None:
        judged, score = overlay.draw(_faded(pixels), larger, max_side=SIDE_PX, by=_tones(len(found), TRUE_RGB)), None
    else:
        rows, columns = matching.correct_pairs(found, true)
        missed = true.filter(np.setdiff1d(np.arange(len(true)), columns))
        score = PanelScore(right=len(rows), wrong=len(found) - len(rows), true=len(true))
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
    return PanelImage(title=title, masks=data_uri(drawn), judged=data_uri(judged), score=score)


def _of_map(panel: Panel, title: str, found: Instances, true: Instances | None, classes: Sequence[str]) -> PanelImage:
    """The truth is shown as it is in both pictures: all of it is right."""
    regions = overlay.map_regions(found, background=classes[0] == BACKGROUND)
    pixels, larger = overlay.enlarged(panel.pixels, regions, SIDE_PX)
    drawn = data_uri(overlay.draw(pixels, larger, max_side=SIDE_PX, by="class"))
    if true is None:
        return PanelImage(title=title, masks=drawn, judged=drawn, score=None)
    labels, truth = paint(found), paint(true)
    known = truth != UNKNOWN
    wrong = known & (labels != truth)
    faded, larger = overlay.enlarged(
        _faded(panel.pixels), Instances.from_masks(wrong[None], provenance=Provenance.WRONG), SIDE_PX
    )
    judged = overlay.draw(faded, larger, max_side=SIDE_PX, by=_tones(1, WRONG_RGB), fill=0.65)
    number, errors = int(known.sum()), int(wrong.sum())
    score = PanelScore(right=number - errors, wrong=errors, true=number, pixels=True)
    return PanelImage(title=title, masks=drawn, judged=data_uri(judged), score=score)


def _tones(number: int, rgb: tuple[int, int, int]) -> overlay.Pixels:
    return np.tile(np.array(rgb, dtype=np.uint8), (number, 1))


def _faded(pixels: overlay.Pixels) -> overlay.Pixels:
    """Grey and dimmed: so that colours say right and wrong, whatever the image's own are."""
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.repeat((35 + 0.42 * grey).astype(np.uint8)[:, :, None], 3, axis=2)
