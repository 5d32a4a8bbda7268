"""Which form an answer has: what `format` asks for, else what `Accept` prefers (RFC 9110, section 12.5.1)."""

from collections.abc import Mapping
from typing import Final

from segray.serving.http.answers import JSON, MEDIA_TYPES, PNG, Form
from segray.serving.http.problems import ProblemError

_USUAL: Final[Mapping[str, Form]] = {JSON: "rle", PNG: "label"}
"""The form of a media type where `format` does not say, the first before the second where both are as welcome."""


def choose(accept: str, form: Form | None) -> Form:
    """The form of the answer.

    Raises:
        ProblemError: 406, the caller takes none of what there is, or not what it asks for.
    """
    if form is None:
        media_type = max(_USUAL, key=lambda one: _quality(accept, one))
        form = _USUAL[media_type]
    if _quality(accept, MEDIA_TYPES[form]) == 0:
        offered = f"format={form} is {MEDIA_TYPES[form]}" if form not in _USUAL.values() else f"{JSON} or {PNG}"
        raise ProblemError(406, "not-acceptable", f"the answer is {offered}, which `Accept` excludes")
    return form


def _quality(accept: str, media_type: str) -> float:
    """How welcome a media type is, 0 to 1, by the most exact range that matches it."""
    ranges = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    given = dict(_range(one) for one in (accept or "*/*").split(","))
    return next((given[one] for one in ranges if one in given), 0.0)


def _range(text: str) -> tuple[str, float]:
    """A media range and its weight; a weight that is no number counts as none."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    weights = [part.removeprefix("q=") for part in parameters if part.startswith("q=")]
    weight = weights[0] if weights else "1"
    return name, float(weight) if weight.replace(".", "", 1).isdecimal() and weight.isascii() else 1.0
