"""What derives from the table of formats."""

from pathlib import Path
from pkgutil import iter_modules, resolve_name

import pytest

from segray import formats
from segray.config.base import build
from segray.config.label import LabelConfig
from segray.errors import ConfigError
from segray.formats.coco.ids import CocoIds
from segray.formats.registry import FOLDERS, FORMATS, READERS, WRITERS
from segray.store.rows import LabeledRow

README = Path(__file__).parents[3] / "README.md"
SHARED = {
    "beside",
    "label_names",
    "as_label_maps",
    "format",
    "image_list",
    "output",
    "polygons",
    "registry",
    "source",
    "tally",
}
"""Modules that formats share."""


def test_every_folder_is_a_format_and_every_module_is_shared() -> None:
    found = list(iter_modules(formats.__path__))
    assert {one.name for one in found if one.ispkg} == set(FOLDERS)
    assert {one.name for one in found if not one.ispkg} == SHARED


def test_names_are_unique_and_formats_read_or_write() -> None:
    assert len(READERS) == sum(one.reader is not None for one in FORMATS)
    assert len(WRITERS) == sum(len(one.writers) for one in FORMATS)
    assert all(one.reader or one.writers for one in FORMATS)


def test_the_readme_lists_every_export() -> None:
    listed = README.read_text().partition("Formats: ")[2].partition(".")[0]
    assert listed == ", ".join(f"`{name}`" for name in WRITERS)


def test_a_config_names_sources_by_kind() -> None:
    with pytest.raises(ConfigError) as caught:
        build(LabelConfig, {"job": "label", "source": {"kind": "tfrecord"}, "stores": "out"}, "test")
    assert all(f"'{kind}'" in str(caught.value) for kind in READERS)


@pytest.mark.parametrize("kind", READERS)
def test_a_reader_names_a_source(kind: str) -> None:
    source = resolve_name(READERS[kind].source)
    assert all(callable(getattr(source, name)) for name in ("rows", "instances"))


@pytest.mark.parametrize("name", WRITERS)
def test_an_export_is_the_file_or_folder_that_its_writer_says(tmp_path, make_row, name: str) -> None:
    rows: list[LabeledRow] = [make_row("a.jpg", classes=[0] * 6)]
    out = tmp_path / f"out{WRITERS[name].suffix}"
    WRITERS[name].of_store("0123", CocoIds())(rows, out, ("cell",), overwrite=False)
    assert out.is_file() == WRITERS[name].is_file
    assert out.is_dir() != WRITERS[name].is_file
