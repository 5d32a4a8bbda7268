"""The report of a label run or a store: one HTML file that needs nothing else and can be sent to anyone.

Knows findings, pixels through a callable, and the template beside it; knows no store and no model.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segray.data.exports.output import whole_file
from segray.data.rows import ImageRow, LabeledRow
from segray.errors import SegrayError
from segray.labels.cost import cost_table
from segray.labels.findings import EXAMPLES_PER_REASON, Findings
from segray.pages import overlay
from segray.pages.charts import Axis, Chart, chart
from segray.pages.page import data_uri, flattened, plain, render

SIDE_PX = 480
"""Longest side of a picture in the report."""
_IN_A_ROW = 12
"""More pictures than any row of the page holds."""

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

    @property
    def shape(self) -> float:
        """Width by height of its place on the page."""
        return min(3.0, max(0.5, self.width / max(1, self.height)))


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
    cards = [_card(row, images) for row in found.chosen()]
    page = render(
        _TEMPLATES,
        "report.html.j2",
        title=title,
        created=created or datetime.now(UTC),
        found=found,
        summary=summary,
        cards=cards,
        cards_in_a_row=_IN_A_ROW,
        mean_shape=sum(card.shape for card in cards) / max(1, len(cards)),
        charts=_charts(found),
        costs=cost_table(found.images, found.seconds, summary, per_hour),
        settings=list(flattened(settings)),
        examples_per_reason=EXAMPLES_PER_REASON,
    )
    with whole_file(out, overwrite=True) as file:
        file.write(page.encode(errors="replace"))
    return found


def _card(row: LabeledRow, images: Callable[[ImageRow], overlay.Pixels]) -> Card:
    assert row.instances is not None, "only labeled rows are sampled"
    height, width = row.instances.size_hw
    card = Card(image_id=row.image.image_id, masks=len(row.instances), seconds=row.seconds, width=width, height=height)
    try:
        pixels = images(row.image)
        return dataclasses.replace(
            card,
            plain=data_uri(overlay.fit(pixels, SIDE_PX)),
            drawn=data_uri(overlay.draw(pixels, row.instances, max_side=SIDE_PX)),
        )
    except (SegrayError, OSError) as error:
        return dataclasses.replace(card, problem=str(error))
    except ValueError as error:
        return dataclasses.replace(card, problem=f"the image has changed since it was labeled: {error}")


def _charts(found: Findings) -> list[Chart]:
    score = Axis(label="predicted IoU", tell=plain)
    stability = Axis(label="stability score", tell=plain)
    share = Axis(label="share of the image", tell=lambda power: f"{plain(100 * 10**power)}%", decades=True)
    number = Axis(label="masks in an image", tell=lambda value: f"{value:,.0f}", whole=True)
    return [
        chart(found.scores, title="Score", axis=score, of="masks"),
        chart(found.stabilities, title="Stability", axis=stability, of="masks"),
        chart(found.log_shares, title="Area", axis=share, of="masks"),
        chart(found.per_image, title="Masks per image", axis=number, of="images"),
    ]
