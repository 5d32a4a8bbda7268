"""The report of a label run or a store: one HTML file that needs nothing else and can be sent to anyone.

Knows findings, pixels through a callable, and the template beside it; knows no store and no model.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from segray.errors import SegrayError
from segray.formats.output import atomic_file
from segray.labels.cost import cost_table
from segray.labels.report.findings import EXAMPLES_PER_REASON, ClassFindings, Findings
from segray.pages import overlay
from segray.pages.charts import Axis, Chart, chart
from segray.pages.page import data_uri, flattened, plain, render
from segray.store.rows import ImageRow, LabeledRow

SIDE_PX = 480
"""Longest side of a picture in the report."""
_IN_A_ROW = 12
"""More pictures than any row of the page holds."""

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class SampleCard:
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
    classes: Sequence[str] = (),
    settings: Mapping[str, Any],
    maps: bool = False,
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
        classes: names by class id, where masks have classes.
        maps: whether the store holds label maps.
        settings: what decided the masks, nested tables as in the config.
        per_hour: price of one hour of the GPU (or machine) share that one actor holds.
        sample: pictures shown.
        seed: of the sample.
        created: when; now where not given.
    """
    found = Findings(sample=sample, seed=seed)
    for row in rows:
        found.add(row)
    unknown = max(0.0, 1 - sum(one.pixels for one in found.classes.values()) / max(1, found.pixels)) if maps else 0.0
    legend = overlay.class_tones(classes, maps=maps, unknown=unknown > 0)
    cards = [_card(row, images, maps=maps, by="class" if legend else "mask") for row in found.chosen()]
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
        maps=maps,
        unknown=unknown,
        legend=legend,
        classes=_class_rows(found, classes),
        charts=_charts(found, classified=bool(classes)),
        costs=cost_table(found.images, found.seconds, summary, per_hour),
        settings=list(flattened(settings)),
        examples_per_reason=EXAMPLES_PER_REASON,
    )
    with atomic_file(out, overwrite=True) as file:
        file.write(page.encode(errors="replace"))
    return found


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """A class in a table."""

    name: str
    found: ClassFindings
    share: float
    """Of all labeled images' pixels."""


def _class_rows(found: Findings, classes: Sequence[str]) -> list[ClassRow]:
    """In the order of their ids; those that were not found, too."""
    counted = [(name, found.classes.get(class_id, ClassFindings())) for class_id, name in enumerate(classes)]
    return [ClassRow(name=name, found=one, share=one.pixels / max(1, found.pixels)) for name, one in counted]


def _card(
    row: LabeledRow, images: Callable[[ImageRow], overlay.Pixels], *, maps: bool, by: Literal["mask", "class"]
) -> SampleCard:
    assert row.instances is not None, "only labeled rows are sampled"
    height, width = row.instances.size_hw
    card = SampleCard(
        image_id=row.image.image_id, masks=len(row.instances), seconds=row.seconds, width=width, height=height
    )
    try:
        pixels = images(row.image)
        shown = overlay.map_regions(row.instances, background=True) if maps else row.instances
        return dataclasses.replace(
            card,
            plain=data_uri(overlay.fit(pixels, SIDE_PX)),
            drawn=data_uri(overlay.draw(pixels, shown, max_side=SIDE_PX, by=by)),
        )
    except (SegrayError, OSError) as error:
        return dataclasses.replace(card, problem=str(error))
    except ValueError as error:
        return dataclasses.replace(card, problem=f"the image has changed since it was labeled: {error}")


def _charts(found: Findings, *, classified: bool) -> list[Chart]:
    """What was measured of the masks."""
    score = Axis(label="score" if classified else "predicted IoU", tell=plain)
    stability = Axis(label="stability score", tell=plain)
    share = Axis(label="share of the image", tell=lambda power: f"{plain(100 * 10**power)}%", decades=True)
    number = Axis(label="masks in an image", tell=lambda value: f"{value:,.0f}", whole=True)
    charts = [
        chart(found.scores, title="Score", axis=score, of="masks"),
        chart(found.stabilities, title="Stability", axis=stability, of="masks"),
        chart(found.log_shares, title="Area", axis=share, of="masks"),
        chart(found.per_image, title="Masks per image", axis=number, of="images"),
    ]
    return [one for one in charts if one.bars or not one.unmeasured]
