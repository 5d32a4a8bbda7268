import pytest

from segray.serving.http.negotiation import choose
from segray.serving.http.problems import ProblemError

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/png,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "form", "chosen"),
    [
        ("", None, "rle"),
        ("*/*", None, "rle"),
        ("application/json", None, "rle"),
        ("application/*", None, "rle"),
        ("image/png", None, "label"),
        ("image/*", None, "label"),
        ("image/png, application/json;q=0.5", None, "label"),
        ("image/png;q=0.5, application/json", None, "rle"),
        ("IMAGE/PNG ; Q=1", None, "label"),
        ("*/*, application/json;q=0", None, "label"),
        (BROWSER, None, "label"),
        ("", "polygons", "polygons"),
        ("application/json", "polygons", "polygons"),
        ("*/*", "overlay", "overlay"),
        ("image/png", "overlay", "overlay"),
        (BROWSER, "rle", "rle"),
        ("application/json;q=high", None, "rle"),
        (",;,q=1,", "rle", None),
        ("text/html", None, None),
        ("image/png;q=0", None, None),
        ("image/png", "rle", None),
        ("application/json", "label", None),
        ("application/json", "overlay", None),
    ],
)
def test_format_decides_and_accept_prefers(accept, form, chosen):
    if chosen is not None:
        assert choose(accept, form) == chosen
        return
    with pytest.raises(ProblemError) as caught:
        choose(accept, form)
    assert caught.value.status == 406
