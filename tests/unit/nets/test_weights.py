import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from bench.counting_s3 import CountingS3, by_kind
from segray.errors import BackendError
from segray.nets.weights import check_fit, hash_location, hash_state, load_into, load_state
from segray.storage import files

STATE = {
    "b.weight": torch.arange(6.0).reshape(2, 3).T.contiguous(),
    "a": torch.tensor(3),
    "half": torch.ones(2, 2, dtype=torch.bfloat16),
    "none": torch.zeros(0, 4),
}


class Bomb:
    """Runs a command when unpickled as usual."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.target}",)


def as_safetensors(path: Path) -> None:
    safetensors.torch.save_file(STATE, path)


def as_zip(path: Path) -> None:
    torch.save(dict(reversed(STATE.items())), path)


def as_old_torch(path: Path) -> None:
    torch.save(STATE, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("name", ["weights.pth", "weights", "weights.bin"])
@pytest.mark.parametrize("save", [as_safetensors, as_zip, as_old_torch])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_content_tells_the_format_and_the_hash_does_not(
    save: Callable[[Path], None], name: str, scheme: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    save(path)
    state = load_state(f"{scheme}{path}")
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[key], value) and state[key].dtype == value.dtype for key, value in STATE.items())
    assert hash_state(state) == hash_state(STATE)


@pytest.mark.parametrize(
    "change",
    [
        {"a": torch.tensor(4)},
        {"a": torch.tensor(3, dtype=torch.int32)},
        {"a": torch.tensor([3])},
        {"c": torch.tensor(3)},
        {"half": torch.ones(2, 2, dtype=torch.float16)},
        {"b.weight": STATE["b.weight"].reshape(2, 3)},
    ],
)
def test_the_hash_sees_every_change(change: dict[str, torch.Tensor]) -> None:
    assert hash_state({**STATE, **change}) != hash_state(STATE)


def test_the_hash_does_not_see_strides() -> None:
    assert hash_state({"a": STATE["b.weight"].T.contiguous().T}) == hash_state({"a": STATE["b.weight"]})


def empty(_: Path) -> bytes:
    return b""


def garbage(_: Path) -> bytes:
    return np.random.default_rng(0).bytes(1000)


def cut_safetensors(_: Path) -> bytes:
    return safetensors.torch.save(STATE)[:-3]


def cut_zip(folder: Path) -> bytes:
    as_zip(folder / "whole")
    return (folder / "whole").read_bytes()[:600]


def cut_old_torch(folder: Path) -> bytes:
    as_old_torch(folder / "whole")
    return (folder / "whole").read_bytes()[:300]


def pickled_bomb(folder: Path) -> bytes:
    return pickle.dumps({"a": Bomb(folder / "went off")})


def text_bomb(folder: Path) -> bytes:
    return pickle.dumps({"a": Bomb(folder / "went off")}, protocol=0)


def torch_bomb(folder: Path) -> bytes:
    torch.save({"a": Bomb(folder / "went off")}, folder / "whole")
    return (folder / "whole").read_bytes()


def whole_model(folder: Path) -> bytes:
    torch.save(nn.Linear(2, 2), folder / "whole")
    return (folder / "whole").read_bytes()


def nested(folder: Path) -> bytes:
    torch.save({"model": STATE, "epoch": 3}, folder / "whole")
    return (folder / "whole").read_bytes()


def a_list(folder: Path) -> bytes:
    torch.save([STATE], folder / "whole")
    return (folder / "whole").read_bytes()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("scheme", ["", "file://"])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (empty, "cannot be read: damaged"),
        (garbage, "cannot be read: damaged"),
        (cut_safetensors, "cannot be read: damaged"),
        (cut_zip, "cannot be read: damaged"),
        (cut_old_torch, "refused: a pickle that is damaged"),
        (pickled_bomb, "convert it to safetensors"),
        (torch_bomb, "convert it to safetensors"),
        (text_bomb, "cannot be read"),
        (whole_model, "convert it to safetensors"),
        (nested, "2 other entries (model, epoch)"),
        (a_list, "hold a list"),
    ],
)
def test_what_is_no_weights_is_refused(make: Callable[[Path], bytes], said: str, scheme: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(make(tmp_path))
    with pytest.raises(BackendError) as error:
        load_state(f"{scheme}{path}")
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert not (tmp_path / "went off").exists()


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("{}/none.pth", "does not exist"),
        ("{}", "is a folder"),
        ("file://{}/none.pth", "no such file"),
        ("nothing://bucket/weights.pth", "cannot be fetched"),
        ("http://127.0.0.1:9/weights.pth", "cannot be fetched"),
    ],
)
def test_what_is_not_there_is_said(location: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=said):
        load_state(location.format(tmp_path))


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


@pytest.mark.parametrize(
    ("without", "extra", "said"),
    [
        ({"0.bias"}, {}, "1 missing (0.bias)"),
        (set(), {"head.weight": torch.zeros(1)}, "1 unexpected (head.weight)"),
        (set(), {"0.bias": torch.zeros(4)}, "1 of another shape (0.bias (4,) for (3,))"),
        ({"0.bias", "0.weight", "1.weight", "1.bias"}, {}, "4 missing (0.weight, 0.bias, 1.weight and 1 more)"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_does_not_fit_is_listed(without: set[str], extra: dict[str, torch.Tensor], said: str, device: str) -> None:
    state = {key: value for key, value in layers().state_dict().items() if key not in without} | extra
    with torch.device(device):
        module = layers()
    with pytest.raises(BackendError) as error:
        check_fit(module, state, "weights 'here'")
    assert said in str(error.value)
    assert "weights 'here'" in str(error.value)


def test_loading_takes_half_precision_and_needs_no_batch_count() -> None:
    source, target = layers(), layers()
    state = {key: value.half() for key, value in source.state_dict().items() if "num_batches" not in key}
    load_into(target, state, "weights")
    assert target[0].weight.dtype == torch.float32
    assert torch.equal(target[0].weight, source[0].weight.half().float())


def test_remote_weights_come_once_and_are_hashed_once(
    s3_server: CountingS3, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uri, hashed = f"{s3_bucket}/weights.safetensors", []
    files.write_bytes_atomic(uri, safetensors.torch.save(STATE))
    monkeypatch.setattr("segray.nets.weights.hash_state", lambda state: hashed.append(state) or hash_state(state))
    with s3_server.counted() as requests:
        found = {hash_location(uri, load_state(uri)) for _ in range(3)}
    assert found == {hash_state(STATE)}
    assert len(hashed) == 1
    assert by_kind(requests)["weights", "GET"] == 1
