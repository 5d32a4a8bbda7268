"""Masks drawn over their image: distinct colours, outlines, a legend. Knows pixels and instances."""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from segray.images.inputs import ImageLike, pixels_of
from segray.masks import rle
from segray.masks.instances import UNLABELED, Instances
from segray.masks.provenance import Provenance
from segray.masks.semantic import BACKGROUND

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""

FILL = 0.5
"""How much of a small mask's colour lies over the image; a mask over a third of it or more has half of that."""

GREY = (150, 150, 150)
"""Of masks without a class, where colours go by class."""

_GOLDEN_TURN = 0.618034
_TONES = ((0.72, 0.19), (0.82, 0.14), (0.62, 0.21))
_OKLAB_TO_LMS = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def colours(number: int) -> Pixels:
    """(number, 3) RGB colours that differ well, neighbours most; colour i is the same whatever `number` is.

    Hues a golden turn apart in three tones of the OKLab space (Ottosson 2020), where equal steps look equal.
    """
    index = np.arange(number)
    tones = np.array(_TONES)[index % len(_TONES)]
    angle = 2 * np.pi * ((0.82 + index * _GOLDEN_TURN) % 1)
    lab = np.stack([tones[:, 0], tones[:, 1] * np.cos(angle), tones[:, 1] * np.sin(angle)], axis=1)
    linear = np.clip((lab @ _OKLAB_TO_LMS.T) ** 3 @ _LMS_TO_RGB.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(encoded * 255), dtype=np.uint8)


def fit(image: Pixels, max_side: int | None) -> Pixels:
    """The image, shrunk so that no side is longer than `max_side` pixels; never enlarged."""
    height, width = image.shape[:2]
    scale = min(1.0, max_side / max(height, width)) if max_side else 1.0
    if scale == 1.0:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def draw(
    image: Pixels,
    instances: Instances,
    *,
    max_side: int | None = None,
    by: Literal["mask", "class"] | Pixels = "mask",
    fill: float = FILL,
    above: npt.NDArray[np.bool_] | None = None,
) -> Pixels:
    """The image with its masks: each filled and outlined, small ones over large ones, those `above` (N,) over all.

    Colours go by mask, or by class (a mask without one then has grey), or are given, (N, 3). Where `max_side` is given
    the result is shrunk to it first; masks too small for it keep one pixel. One dense mask is held at a time.

    Raises:
        ValueError: the masks are of another size than the image.
    """
    if image.shape[:2] != tuple(instances.size_hw):
        raise ValueError(f"masks of size {tuple(instances.size_hw)} on an image of size {image.shape[:2]}")
    canvas = fit(image, max_side).copy()
    layer = np.zeros(len(instances), dtype=bool) if above is None else above
    order = np.lexsort((-instances.areas, layer))
    palette = _palette(instances, order, by)
    owner = np.full(canvas.shape[:2], -1, dtype=np.int32)
    outlines = []
    for index in order:
        mask = _shrunk(rle.decode([instances.counts[index]], instances.size_hw)[0], canvas.shape[:2])
        owner[mask.astype(bool)] = index
        found, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        outlines.append((index, found))
    inside = owner >= 0
    share = instances.areas / max(1, image.shape[0] * image.shape[1])
    strength = (fill * (1 - 0.5 * np.minimum(1, 3 * share)))[owner[inside], None]
    canvas[inside] = np.round(canvas[inside] * (1 - strength) + palette[owner[inside]] * strength).astype(np.uint8)
    thickness = max(1, round(min(canvas.shape[:2]) / 400))
    for index, found in outlines:
        cv2.drawContours(canvas, found, -1, palette[index].tolist(), thickness, cv2.LINE_AA)
    return canvas


def plot(image: ImageLike, instances: Instances, *, max_side: int | None = None) -> Image.Image:
    """Return what `draw` makes of any kind of image, as a PIL image; `Instances.plot` calls it.

    Colours go by class where all masks have one, else by mask.

    Raises:
        ImageError: the file cannot be read as an image.
        ValueError: the masks are of another size than the image.
    """
    labeled = len(instances) > 0 and bool((instances.classes != UNLABELED).all())
    by: Literal["mask", "class"] = "class" if labeled else "mask"
    return Image.fromarray(draw(pixels_of(image), instances, max_side=max_side, by=by))


def class_tones(classes: Sequence[str], *, maps: bool, unknown: bool) -> list[tuple[str, str]]:
    """Name and CSS colour of each class; none where there is one class only, as masks are then coloured one by one.

    Of maps without the background, which is not coloured. `unknown`: also of what has no class.
    """
    if len(classes) < 2:
        return []
    tones = [*zip(classes, colours(len(classes)), strict=True), *([("unknown", GREY)] if unknown else [])]
    return [(name, f"rgb({r} {g} {b})") for name, (r, g, b) in tones if not (maps and name == BACKGROUND)]


def map_regions(labels: Instances, *, background: bool) -> Instances:
    """What of a label map is drawn, by class: all but class 0 where that is the background, which stays as it is; what
    nobody knows has no class, which has grey.
    """
    known = np.zeros(labels.size_hw, dtype=np.bool_)
    for counts in labels.counts:
        known |= rle.decode([counts], labels.size_hw)[0]
    shown = labels.filter(labels.classes != 0) if background else labels
    if known.all():
        return shown
    return Instances.cat([shown, Instances.from_masks(~known[None], provenance=Provenance.UNKNOWN)])


def legend(names: Sequence[str], tones: Pixels, width: int, *, text_px: int = 16) -> Pixels:
    """A white strip of this width with a swatch and a name per colour, in as many lines as needed."""
    font = ImageFont.load_default(text_px)
    gap, line = text_px // 2, text_px * 2
    places, x, y = [], gap, 0
    for name in names:
        needed = text_px + gap + int(font.getlength(name)) + 2 * gap
        if x > gap and x + needed > width:
            x, y = gap, y + line
        places.append((x, y))
        x += needed
    strip = Image.new("RGB", (width, y + line), "white")
    pen = ImageDraw.Draw(strip)
    for name, tone, (left, top) in zip(names, tones, places, strict=True):
        upper = top + (line - text_px) // 2
        pen.rectangle([left, upper, left + text_px - 1, upper + text_px - 1], fill=tuple(tone.tolist()))
        pen.text((left + text_px + gap, top + line // 2), name, fill=(30, 30, 30), font=font, anchor="lm")
    return np.asarray(strip, dtype=np.uint8)


def enlarged(image: Pixels, instances: Instances, least_side: int) -> tuple[Pixels, Instances]:
    """Image and masks so large that the longer side has `least_side` pixels, outlines smoothed; never shrunk."""
    height, width = image.shape[:2]
    scale = least_side / max(height, width)
    if scale <= 1:
        return image, instances
    size = (round(width * scale), round(height * scale))
    masks = [
        cv2.resize(mask * np.uint8(255), size, interpolation=cv2.INTER_CUBIC) > 127 for mask in instances.to_masks()
    ]
    larger = Instances.from_rle(
        rle.encode(np.array(masks, dtype=bool).reshape(-1, size[1], size[0])),
        (size[1], size[0]),
        provenance=instances.provenance.tolist(),
        scores=instances.scores,
        classes=instances.classes,
    )
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8), larger


def _palette(
    instances: Instances, order: npt.NDArray[np.int64], by: Literal["mask", "class"] | Pixels
) -> npt.NDArray[np.uint8]:
    """(N, 3) the colour of each mask. By mask, masks next to each other in size differ most."""
    if isinstance(by, np.ndarray):
        return by
    if by == "class":
        known = colours(int(instances.classes.max(initial=0)) + 1)
        return np.where(
            (instances.classes == UNLABELED)[:, None], np.array(GREY, np.uint8), known[np.maximum(instances.classes, 0)]
        )
    # Pictures side by side should not all begin with the same colour.
    start = int(instances.areas.sum()) % 50
    palette = np.empty((len(instances), 3), dtype=np.uint8)
    palette[order] = colours(start + len(instances))[start:]
    return palette


def _shrunk(mask: npt.NDArray[np.bool_], size_hw: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The mask at another size, 0 or 1: set where half a pixel is covered, and where most is if none is by half."""
    whole = mask.astype(np.uint8)
    if mask.shape == tuple(size_hw):
        return whole
    share = cv2.resize(whole * np.uint8(255), (size_hw[1], size_hw[0]), interpolation=cv2.INTER_AREA)
    bound = min(128, int(share.max()))
    return np.asarray((share >= bound) & (share > 0), dtype=np.uint8)
