import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import safetensors.torch
import torch

from segray.config.model_kinds import SamConfig
from segray.config.sam import HfSamConfig, OriginalSamConfig
from segray.errors import BackendError
from segray.sam.backends.segment_anything.nano import build_sam_nano
from segray.sam.build import build, describe
from segray.sam.protocol import SamCard

Folder = Callable[[str], Path]
BOTH = pytest.mark.parametrize("load", [build, describe])


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    # What HF_HUB_OFFLINE=1 sets when the package is imported.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def nano_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("nano") / "nano.safetensors"
    safetensors.torch.save_file(
        {key: value.half().contiguous() for key, value in build_sam_nano().state_dict().items()}, path
    )
    return path


def test_what_is_described_is_what_is_built(nano_file: Path, hf_folder: Folder) -> None:
    settings: list[SamConfig] = [
        OriginalSamConfig(weights=str(nano_file), device="cpu"),
        HfSamConfig(model=str(hf_folder("sam")), device="cpu"),
        HfSamConfig(model=str(hf_folder("sam2_video")), device="cpu"),
    ]
    cards = [describe(one) for one in settings]
    built = [build(one) for one in settings]
    assert cards == [SamCard(name=sam.name, weights_hash=sam.weights_hash) for sam in built]
    assert len({card.weights_hash for card in cards}) == 3
    assert cards[0].name == "nano"
    assert cards[1].name == hf_folder("sam").name


@pytest.mark.parametrize(
    "options", [{"device": "cuda"}, {"precision": "bfloat16"}, {"precision": "float16"}, {"compile": True}], ids=str
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
def test_a_driver_without_a_gpu_describes_what_only_a_gpu_builds(
    options: dict[str, Any], nano_file: Path, hf_folder: Folder
) -> None:
    for settings in (
        OriginalSamConfig(weights=str(nano_file), **options),
        HfSamConfig(model=str(hf_folder("sam")), **options),
    ):
        assert describe(settings).weights_hash
        with pytest.raises(BackendError, match="CUDA"):
            build(settings)


def gone(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def garbage(path: Path) -> None:
    path.write_bytes(b"no weights at all")


def fewer(path: Path) -> None:
    state = safetensors.torch.load_file(path)
    state.pop(min(state))
    safetensors.torch.save_file(state, path)


def pickled(path: Path) -> None:
    state = safetensors.torch.load_file(path)
    path.unlink()
    torch.save(state, path.with_name("pytorch_model.bin"))


@BOTH
@pytest.mark.parametrize(
    ("spoil", "said"),
    [(gone, "does not exist"), (cut, "cannot be read"), (garbage, "cannot be read"), (fewer, "1 missing")],
)
def test_bad_original_weights(
    spoil: Callable[[Path], None], said: str, load: Callable[[SamConfig], object], nano_file: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(nano_file, tmp_path))
    spoil(path)
    with pytest.raises(BackendError, match=said):
        load(OriginalSamConfig(weights=str(path), device="cpu"))


@BOTH
def test_weights_of_another_original_architecture(load: Callable[[SamConfig], object], nano_file: Path) -> None:
    with pytest.raises(BackendError, match=r"'vit_b' do not fit this architecture: \d+ missing"):
        load(OriginalSamConfig(model="vit_b", weights=str(nano_file), device="cpu"))


def entries(**given: Any) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **given}))

    return edit


@BOTH
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (("config.json", gone), "config.json is missing or damaged"),
        (("config.json", garbage), "config.json is missing or damaged"),
        (
            ("config.json", entries(model_type="bert")),
            "'bert', which is no promptable SAM; supported model types: sam, ",
        ),
        (("config.json", entries(model_type="sam3")), "no promptable SAM"),
        (("config.json", entries(model_type="sam_hq")), "as a SamHQModel: 25 tensors are missing"),
        (("config.json", entries(model_type="sam2")), "as a Sam2Model ("),
        (
            ("config.json", entries(mask_decoder_config={"hidden_size": 64})),
            "as a SamModel: ",
        ),
        (
            ("config.json", entries(mask_decoder_config={"hidden_size": "wide"})),
            "as a SamModel (",
        ),
        (("preprocessor_config.json", gone), "cannot load the image processor of model"),
        (("preprocessor_config.json", garbage), "preprocessor_config.json is missing or damaged"),
        (("model.safetensors", gone), "holds no model.safetensors, and pickled weights are not read"),
        (("model.safetensors", pickled), "holds no model.safetensors, and pickled weights are not read"),
        (("model.safetensors", cut), "cannot be read"),
        (("model.safetensors", garbage), "cannot be read"),
        (("model.safetensors", fewer), "as a SamModel: 1 tensors are missing"),
    ],
)
def test_bad_hf_folders(
    damage: tuple[str, Callable[[Path], None]],
    said: str,
    load: Callable[[SamConfig], object],
    hf_folder: Folder,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(hf_folder("sam"), folder)
    name, spoil = damage
    spoil(folder / name)
    with pytest.raises(BackendError) as error:
        load(HfSamConfig(model=str(folder), device="cpu"))
    assert said in str(error.value)
    assert "model" in str(error.value)


@BOTH
@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nobody/no-such-sam", "Without network: download it elsewhere"),
        ("no such id", "nor downloadable from the Hub"),
        ("./no/such/folder", "no such folder"),
        ("/no/such/folder", "no such folder"),
        ("no/such/folder", "no such folder"),
    ],
)
def test_models_that_cannot_be_fetched(model: str, said: str, load: Callable[[SamConfig], object]) -> None:
    with pytest.raises(BackendError, match=said):
        load(HfSamConfig(model=model))


@pytest.mark.usefixtures("offline")
def test_a_hub_model_in_the_cache_needs_no_network(
    hf_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--somebody--tiny-sam"
    shutil.copytree(hf_folder("sam"), repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    hub = describe(HfSamConfig(model="somebody/tiny-sam"))
    assert hub == SamCard(
        name="somebody/tiny-sam", weights_hash=describe(HfSamConfig(model=str(hf_folder("sam")))).weights_hash
    )
    assert describe(HfSamConfig(model="somebody/tiny-sam", revision=commit)) == hub
    with pytest.raises(BackendError, match="check the id, the revision"):
        describe(HfSamConfig(model="somebody/tiny-sam", revision="v9"))
