import json

import numpy as np
import pytest
import torch

from segray.errors import BackendError
from segray.evidence.nano_clip import NanoClip, load, save
from tools.nano import clip_data, train_clip
from tools.nano.clip_data import HELD_OUT, WORDS, Captioned, build_cache, draw_batch


@pytest.fixture(scope="module")
def scenes():
    drawn = clip_data._draw(range(6))
    return Captioned(np.stack([image for image, _ in drawn]), [caption for _, caption in drawn])


def test_captions_hold_known_words_and_nothing_held_out(scenes):
    things = [thing for caption in scenes.captions for thing in caption]
    assert len(things) > 6
    assert {word for thing in things for word in thing.values()} <= set(WORDS)
    assert not {(thing["texture"], thing["class"]) for thing in things} & set(HELD_OUT)
    assert {len(thing) for thing in things} == {4}


def test_phrases_are_true_where_one_object_has_all_their_words(scenes):
    batch = draw_batch(scenes, 3, images=4, phrases=24, seed=0)
    again = draw_batch(scenes, 3, images=4, phrases=24, seed=0)
    assert np.array_equal(batch.images, again.images)
    assert batch.phrases == again.phrases
    assert batch.phrases != draw_batch(scenes, 4, images=4, phrases=24, seed=0).phrases
    assert len(set(batch.phrases)) == len(batch.phrases) == 24
    assert 0 < batch.truth.mean() < 0.6
    assert batch.truth.any(0)[:12].all(), "the first half are some image's own"
    assert not batch.truth.any(0).all(), "of the others some are nobody's"


def test_training_moves_both_encoders_and_the_same_command_again_does_nothing(scenes, tmp_path):
    np.save(tmp_path / "clip-6.npy", scenes.images)
    (tmp_path / "clip-6.json").write_text(json.dumps(scenes.captions))
    weights = train_clip.train(tmp_path, steps=2, scenes=6, workers=1)
    torch.manual_seed(0)
    fresh, trained = NanoClip(WORDS).state_dict(), load(str(weights)).state_dict()
    for name in ("project.weight", "embedding.weight"):
        assert not torch.allclose(fresh[name], trained[name], atol=1e-4)
    before = weights.read_bytes()
    assert train_clip.train(tmp_path, steps=2, scenes=6, workers=1).read_bytes() == before


def test_weights_carry_their_words(tmp_path):
    torch.manual_seed(0)
    model = NanoClip(["fish", "red"]).eval()
    save(model, tmp_path / "clip.safetensors")
    again = load(str(tmp_path / "clip.safetensors"))
    assert again.words == ("fish", "red")
    pair = [model.text([model.numbers("a photo of a Red fish.")]), again.text([again.numbers("fish red")])]
    assert torch.allclose(*pair, atol=1e-2)
    with pytest.raises(BackendError, match="knows no word of 'a gear'; it knows fish, red"):
        again.numbers("a gear")


def test_regions_of_unseen_scenes_are_measured(tmp_path):
    torch.manual_seed(0)
    save(NanoClip(WORDS), tmp_path / "clip.safetensors")
    found = train_clip.measure(str(tmp_path / "clip.safetensors"), 6)
    assert found.keys() == {"class", "class_held_out", "composition", "composition_held_out"}
    assert 0 <= found["class"] < 0.6


def test_the_cache_is_drawn_once(tmp_path):
    (tmp_path / "clip-2.json").write_text(json.dumps([[], []]))
    np.save(tmp_path / "clip-2.npy", np.zeros((2, 4, 4, 3), np.uint8))
    assert len(build_cache(tmp_path, 2, workers=1).images) == 2
