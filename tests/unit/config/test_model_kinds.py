from dataclasses import replace
from importlib import import_module
from pkgutil import resolve_name

import pytest

from segray.config.model_kinds import SAM_CLASSES, STUDENT_CLASSES
from segray.config.sam import HfSamConfig, OriginalSamConfig, SamSettings
from segray.models.student import Student


@pytest.mark.parametrize("settings", SAM_CLASSES)
def test_a_sam_names_a_module_that_builds_and_describes_it(settings):
    backend = import_module(settings.backend)
    assert callable(backend.build)
    assert callable(backend.describe)


@pytest.mark.parametrize("settings", STUDENT_CLASSES)
def test_a_student_names_its_network(settings):
    assert issubclass(resolve_name(settings.network), Student)


@pytest.mark.parametrize("classes", [SAM_CLASSES, STUDENT_CLASSES], ids=["sam", "students"])
def test_kinds_are_unique(classes):
    assert len({one.kind for one in classes}) == len(classes)


@pytest.mark.parametrize(
    ("settings", "content", "name"),
    [
        (OriginalSamConfig(), {"kind": "original", "model": "nano", "dtype": "float32"}, "nano"),
        (
            OriginalSamConfig(model="vit_h", weights="h.pth", precision="float16"),
            {"kind": "original", "model": "vit_h", "dtype": "float16"},
            "vit_h",
        ),
        (HfSamConfig(model="facebook/sam2", revision="v1"), {"kind": "hf", "dtype": "float32"}, "facebook/sam2"),
    ],
    ids=["nano", "vit_h", "hf"],
)
def test_content_is_what_decides_the_masks(settings: SamSettings, content: dict[str, str], name: str) -> None:
    assert settings.content == content
    assert replace(settings, device="cpu", compile=True).content == content
    assert settings.display_name == name
