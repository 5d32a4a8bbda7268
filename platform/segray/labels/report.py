"""The report of a label run or a store: one HTML file that needs nothing else and can be sent to anyone.

Knows findings, pixels through a callable, and the template beside it; knows no store and no model.
"""

import base64
import dataclasses
import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import jinja2

import segray
from segray.data.exports.output import whole_file
from segray.data.rows import ImageRow, LabeledRow
from segray.errors import SegrayError
from segray.labels import overlay
from segray.labels.charts import Axis, Chart, chart
from segray.labels.cost import cost_table
from segray.labels.findings import EXAMPLES_PER_REASON, Findings

SIDE_PX = 480
"""Longest side of a picture in the report."""

_WEBP_QUALITY = 80
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Card:
    """One picture of the sample. `problem` stands where the image can no longer be shown."""

    image_id: str
    masks: int
    seconds: float
    width: int
    height: int
    plain: str = ""
    """The image as a data URI."""
    drawn: str = ""
    """The image with its masks as a data URI."""
    problem: str = ""


def write_report(
    rows: Iterable[LabeledRow],
    out: Path,
    summary: Mapping[str, Any],
    images: Callable[[ImageRow], overlay.Pixels],
    *,
    title: str,
    settings: Mapping[str, Any],
    per_hour: float | None = None,
    sample: int = 24,
    seed: int = 0,
    created: datetime | None = None,
) -> Findings:
    """Write the report to `out`, replacing one that is there.

    Args:
        rows: what the store holds.
        out: the HTML file.
        summary: the last run's `Summary.to_json()`, or nothing; what is missing is left out.
        images: decodes an image; where it raises, the report says so in the picture's place.
        title: names the data, such as the source's name.
        settings: what decided the masks, nested tables as in the config.
        per_hour: price of one hour of the GPU (or machine) share that one actor holds.
        sample: pictures shown.
        seed: of the sample.
        created: when; now where not given.
    """
    found = Findings(sample=sample, seed=seed)
    for row in rows:
        found.add(row)
    page = _template().render(
        title=title,
        version=segray.__version__,
        created=created or datetime.now(UTC),
        found=found,
        summary=summary,
        cards=[_card(row, images) for row in found.chosen()],
        charts=_charts(found),
        costs=cost_table(found.images, found.seconds, summary, per_hour),
        settings=list(flattened(settings)),
        examples_per_reason=EXAMPLES_PER_REASON,
    )
    with whole_file(out, overwrite=True) as file:
        file.write(page.encode(errors="replace"))
    return found


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested tables as dotted keys and values in words."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", "none" if value is None else str(value)


def duration(seconds: float) -> str:
    """A time in the two units that matter: 0.42 s, 12 s, 3 min 20 s, 5 h 10 min, 12 d 4 h."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    for unit, name, below, lower in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        whole = round(seconds / below) * below
        if whole >= unit:
            rest = whole % unit // below
            return f"{whole // unit:,} {name}" + (f" {rest} {lower}" if rest else "")
    raise AssertionError(f"{seconds} s has no unit")


def figure(value: float) -> str:
    """A number with three digits that count."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def visible(text: str) -> str:
    """The text with what cannot be seen written out, such as line ends and marks that turn the reading direction."""
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return "".join(ascii(sign)[1:-1] if unicodedata.category(sign) in hidden else sign for sign in text)


def _card(row: LabeledRow, images: Callable[[ImageRow], overlay.Pixels]) -> Card:
    assert row.instances is not None, "only labeled rows are sampled"
    height, width = row.instances.size_hw
    card = Card(image_id=row.image.image_id, masks=len(row.instances), seconds=row.seconds, width=width, height=height)
    try:
        pixels = images(row.image)
        return dataclasses.replace(
            card,
            plain=_data_uri(overlay.fit(pixels, SIDE_PX)),
            drawn=_data_uri(overlay.draw(pixels, row.instances, max_side=SIDE_PX)),
        )
    except (SegrayError, OSError) as error:
        return dataclasses.replace(card, problem=str(error))
    except ValueError as error:
        return dataclasses.replace(card, problem=f"the image has changed since it was labeled: {error}")


def _data_uri(pixels: overlay.Pixels) -> str:
    fine, data = cv2.imencode(".webp", pixels[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY])
    assert fine, "a picture of at most SIDE_PX pixels a side can be written"
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _charts(found: Findings) -> list[Chart]:
    score = Axis(label="predicted IoU", tell=_plain)
    stability = Axis(label="stability score", tell=_plain)
    share = Axis(label="share of the image", tell=lambda power: f"{_plain(100 * 10**power)}%", decades=True)
    number = Axis(label="masks in an image", tell=lambda value: f"{value:,.0f}", whole=True)
    return [
        chart(found.scores, title="Score", axis=score, of="masks"),
        chart(found.stabilities, title="Stability", axis=stability, of="masks"),
        chart(found.log_shares, title="Area", axis=share, of="masks"),
        chart(found.per_image, title="Masks per image", axis=number, of="images"),
    ]


def _plain(value: float) -> str:
    """Three digits that count, without zeros at the end."""
    text = figure(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "figure": figure, "plain": _plain, "visible": visible}
    return environment.get_template("report.html.j2")
