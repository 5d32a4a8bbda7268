"""CLIP with GEM against a plain second reading of the same description, on a tiny random checkpoint."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
import transformers
from PIL import Image as PilImage

from segray.config.evidence import HfClipConfig
from segray.errors import BackendError
from segray.evidence import gem
from segray.evidence.build import build

SIDE = 48


def image(seed, size_hw=(60, 90)):
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    return np.asarray(PilImage.fromarray(coarse).resize(size_hw[::-1], PilImage.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def model(clip_folder):
    return transformers.CLIPModel.from_pretrained(clip_folder).eval()


def unit(vector):
    return vector / max(math.sqrt(float((vector**2).sum())), 1e-12)


def reference_tokens(model, pixels):
    """Token by token and head by head, in loops over arrays; blocks counted from the end as GEM's code does."""
    vision = model.vision_model
    with torch.no_grad():
        streams = [vision.pre_layrnorm(vision.embeddings(pixels, interpolate_pos_encoding=True))]
        for layer in vision.encoder.layers:
            streams.append(layer(streams[-1], None))
        depth, total = 7, len(vision.encoder.layers)
        gem_stream = streams[total - (depth - 1)].clone()
        for index in range(total - (depth - 1), total):
            layer = vision.encoder.layers[index]
            attention, x = layer.self_attn, layer.layer_norm1(streams[index])[0]
            temperature = float(x.norm(dim=-1).mean()) / math.sqrt(attention.head_dim)
            out = np.zeros(x.shape, np.float64)
            parts = [getattr(attention, f"{name}_proj")(x).double().numpy() for name in "vkq"]
            for head in range(attention.num_heads):
                columns = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
                values = parts[0][:, columns]
                for part in parts:
                    rows = np.array([unit(row) for row in part[:, columns]])
                    rows = attend(rows, temperature) @ rows
                    rows = np.array([unit(row) for row in rows])
                    out[:, columns] += attend(rows, temperature) @ values / 3
            gem_stream[0] += attention.out_proj(torch.from_numpy(out).float())
        return vision.post_layernorm(gem_stream)[0, 1:]


def attend(rows, temperature):
    weights = np.exp(rows @ rows.T * temperature)
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("seed", [0, 1])
def test_gem_is_what_its_description_says(model, seed):
    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    found = gem.tokens(model.vision_model, pixels)[0]
    assert torch.allclose(found, reference_tokens(model, pixels), atol=1e-4)


def test_an_image_is_as_it_is_alone_whatever_batch_it_is_in(clip_config):
    clip = build(clip_config, gpu=False)
    images = [image(0), image(1, (31, 44)), image(2)]
    together = clip.dense(images)
    assert [one.shape for one in together] == [(6, 6, 16)] * 3
    for one, alone in zip(images, together, strict=True):
        assert torch.allclose(clip.dense([one])[0], alone, atol=1e-5)
        assert torch.allclose(alone.norm(dim=-1), torch.ones(6, 6), atol=1e-5)


def test_the_map_is_of_the_whole_image_resized_and_normalised(clip_config, model):
    pixels = np.asarray(PilImage.fromarray(image(3)).resize((SIDE, SIDE), PilImage.Resampling.BICUBIC))
    mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.3, 0.4])
    prepared = torch.from_numpy((pixels / 255 - mean) / std).float().permute(2, 0, 1)[None]
    expected = model.visual_projection(reference_tokens(model, prepared)).detach()
    expected = torch.nn.functional.normalize(expected, dim=-1).reshape(6, 6, 16)
    found = build(clip_config, gpu=False).dense([image(3)])[0]
    # Pillow rounds to bytes between its two passes.
    assert (found * expected).sum(-1).min() > 0.99


def test_texts_are_clips_own(clip_config, clip_folder, model):
    prompts = ["a fish", "a photo of a gear."]
    tokenizer = transformers.CLIPTokenizer.from_pretrained(clip_folder)
    for prompt, found in zip(prompts, build(clip_config, gpu=False).texts(prompts), strict=True):
        with torch.no_grad():
            alone = model.get_text_features(**tokenizer([prompt], return_tensors="pt")).pooler_output[0]
        assert torch.allclose(found, alone / alone.norm(), atol=1e-5)


def test_a_text_longer_than_the_context_is_cut(clip_config):
    long = build(clip_config, gpu=False).texts(["a fish " * 30])
    assert torch.isfinite(long).all()


def test_the_hash_is_of_what_decides_a_result(clip_config, clip_folder, tmp_path):
    first = build(clip_config, gpu=False).weights_hash
    copy = tmp_path / "moved"
    shutil.copytree(clip_folder, copy)
    assert build(HfClipConfig(model=str(copy), side=SIDE), gpu=False).weights_hash == first
    about = json.loads((copy / "config.json").read_text())
    about["vision_config"]["hidden_act"] = "gelu"
    (copy / "config.json").write_text(json.dumps(about))
    assert build(HfClipConfig(model=str(copy), side=SIDE), gpu=False).weights_hash != first


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "/nowhere/clip"}, "cannot load CLIP model '/nowhere/clip'"),
        ({"side": 50}, "multiple of this CLIP's patch of 8"),
    ],
)
def test_what_cannot_work_is_said(clip_config, given, message):
    settings = {"model": clip_config.model, "side": SIDE} | given
    with pytest.raises(BackendError, match=message):
        build(HfClipConfig(**settings), gpu=False)


def test_a_model_of_another_kind_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(BackendError, match="is a 'vit'; only CLIP models have"):
        build(HfClipConfig(model=str(tmp_path)), gpu=False)
