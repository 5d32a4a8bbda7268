"""Pages: one HTML file each that needs nothing else and can be sent to anyone.

Knows the frame that all reports share (look, words for numbers, pictures as data); knows no report's content.
"""

import base64
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import jinja2
import markupsafe

import segray
from segray.pages.overlay import Pixels

_WEBP_QUALITY = 80
_TEMPLATES = Path(__file__).parent / "templates"


def render(templates: Path, name: str, **content: Any) -> str:
    """The page that template `name` of a folder makes of `content`; it may extend `page.html.j2`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([templates, _TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": duration,
        "figure": figure,
        "plain": plain,
        "small_units": small_units,
        "visible": visible,
    }
    return environment.get_template(name).render(version=segray.__version__, **content)


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


def small_units(text: str) -> markupsafe.Markup:
    """A time in words, as a large figure shows it: its units smaller than its numbers."""
    return markupsafe.Markup(re.sub(r"(?<= )[a-z]+", r"<small>\g<0></small>", str(markupsafe.escape(text))))


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


def plain(value: float) -> str:
    """Three digits that count, without zeros at the end."""
    text = figure(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def data_uri(pixels: Pixels) -> str:
    """A picture as text that stands in a page in place of an address."""
    fine, data = cv2.imencode(".webp", pixels[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY])
    assert fine, "a picture for a page can be written"
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode("ascii")
