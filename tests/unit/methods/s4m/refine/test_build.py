import pytest
import torch

from segray.config.sam import OriginalSamConfig
from segray.errors import BackendError
from segray.methods.s4m.config import CachedRefinement, PointRefinement, Refinement
from segray.methods.s4m.refine import build_refiner
from segray.methods.s4m.refine.cached import CachedRefiner
from segray.methods.s4m.refine.points import PointRefiner
from segray.methods.s4m.refine.refiner import NoRefiner


@pytest.mark.parametrize(
    ("settings", "kind"),
    [(None, NoRefiner), (PointRefinement(), PointRefiner), (CachedRefinement(store="unused"), CachedRefiner)],
)
def test_settings_name_the_refiner(settings: Refinement | None, kind: type) -> None:
    built = build_refiner(settings, OriginalSamConfig(), torch.device("cpu"), lambda _: None)
    assert type(built) is kind


def test_sam_runs_where_training_does_unless_it_says_so() -> None:
    built = build_refiner(PointRefinement(), OriginalSamConfig(), torch.device("cpu"), lambda _: None)
    assert isinstance(built, PointRefiner)
    assert built.sam.device == torch.device("cpu")


@pytest.mark.parametrize("settings", [None, CachedRefinement(store="unused")])
def test_without_points_no_sam_is_loaded(settings: Refinement | None) -> None:
    nowhere = OriginalSamConfig(weights="nowhere.safetensors")
    build_refiner(settings, nowhere, torch.device("cpu"), lambda _: None)
    with pytest.raises(BackendError, match="nowhere"):
        build_refiner(PointRefinement(), nowhere, torch.device("cpu"), lambda _: None)
