import pytest
import torch

from segray.assets import MASK2FORMER_NANO
from segray.config.base import build as build_config
from segray.config.students import DeepLab, Dpt, Fpn, HfBackbone, InstancePredict, Mask2Former, NanoBackbone
from segray.demo.training import STUDENT
from segray.errors import BackendError, ConfigError
from segray.models.build import build_student, start_hash
from segray.models.package import read_card, read_weights, save_student


def small(**changes):
    widths = {"hidden_dim": 32, "mask_feature_size": 16, "num_heads": 2, "pixel_decoder_layers": 1, "decoder_layers": 3}
    rest = {"pixel_decoder_feedforward": 32, "decoder_feedforward": 32, "num_points": 64, "num_queries": 6}
    return Mask2Former(**widths | rest | {"predict": InstancePredict(side=64, top_k=10)} | changes)


def test_a_student_knows_its_classes_and_settings(build):
    student = build(num_queries=5)
    assert student.classes == ("disc", "square", "star")
    assert student.settings.num_queries == 5


@pytest.mark.parametrize("widths", [{"hidden_dim": 40}, {"hidden_dim": 96, "num_heads": 5}])
def test_widths_that_do_not_divide_are_a_config_error(widths):
    with pytest.raises(ConfigError, match="multiple of 32"):
        build_config(Mask2Former, widths, "student")


def test_a_student_starts_from_another_all_but_what_classes_and_queries_decide(build, tmp_path):
    other = build(seed=1)
    save_student(other, str(tmp_path), info={})
    student = build_student(small(start=str(tmp_path), num_queries=9), ("cat", "dog"), seed=2)
    ours, theirs = student.state_dict(), other.state_dict()
    new = {name.rsplit(".", 2)[-2] for name in ours if not torch.equal(ours[name], theirs.get(name, torch.zeros(())))}
    assert new == {"classifier", "queries_embedder", "queries_features"}


def test_starting_from_another_architecture_is_one_clear_error(build, tmp_path):
    save_student(build(hidden_dim=64), str(tmp_path), info={})
    with pytest.raises(BackendError, match="different architecture"):
        build(start=str(tmp_path))


def test_what_a_student_starts_from_is_named_by_its_weights(build, tmp_path):
    for folder, seed in (("one", 1), ("two", 2)):
        save_student(build(seed=seed), str(tmp_path / folder), info={})
    hashes = [start_hash(small(start=str(tmp_path / folder))) for folder in ("one", "two")]
    assert len({*hashes, start_hash(small()), start_hash(small(backbone=NanoBackbone(pretrained=False)))}) == 4


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_pretrained_weights_on_this_machine_are_named_by_their_bytes(tmp_path, kind):
    folder = tmp_path / "weights"
    (folder / "deep").mkdir(parents=True)
    weights = folder / "deep" / "model.safetensors"
    place = folder if kind == "folder" else weights

    def named(content):
        weights.write_bytes(content)
        return [start_hash(Fpn(backbone=HfBackbone(weights=str(place)))), start_hash(DeepLab(weights=str(place)))]

    one, other = named(b"one"), named(b"other")
    assert one[0] == one[1] != other[0] == other[1]
    assert named(b"one") == one
    assert start_hash(Dpt(weights="facebook/dinov2-small")) is None


def test_the_shipped_student_is_there_and_of_the_width_that_the_demo_asks_for():
    settings = build_config(Mask2Former, STUDENT, "demo")
    student = build_student(settings, ("leaf", "fish"), seed=0)
    shipped = read_weights(str(MASK2FORMER_NANO))
    own = student.state_dict()
    assert start_hash(settings) == read_card(str(MASK2FORMER_NANO))["weights_sha256"]
    taken = [name for name in own if "classifier" not in name]
    assert all(torch.equal(own[name], shipped[name].float()) for name in taken)
