"""Places that a config names are found by the types of its fields."""

import pytest

from segray.config.base import config
from segray.config.uris import InputUri, NamedUri, StoreUri, Uri, UriRole, named_uris
from segray.formats.folder import FolderSource


@config
class Below:
    """A table."""

    weights_at: InputUri
    model: str = "vit_h"


@config
class Job:
    """A config that the package does not know."""

    below: Below
    leaves: Uri
    takes: StoreUri | None = None
    images: FolderSource | None = None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, []),
        ({"takes": "masks-1"}, [("takes", "masks-1", UriRole.STORE)]),
        ({"images": FolderSource(uri="photos")}, [("images.uri", "photos", UriRole.INPUT)]),
    ],
)
def test_every_place_and_nothing_else(given, expected) -> None:
    always = [("below.weights_at", "a.pth", UriRole.INPUT), ("leaves", "out", UriRole.ANY)]
    found = named_uris(Job(below=Below(weights_at="a.pth"), leaves="out", **given))
    assert list(found) == [NamedUri(*one) for one in [*always, *expected]]


def test_tables_that_are_not_entered() -> None:
    job = Job(below=Below(weights_at="a.pth"), leaves="out", images=FolderSource(uri="photos"))
    assert [one.path for one in named_uris(job, "job", stop_at=(Below, FolderSource))] == ["job.leaves"]
