"""The nano SAM is a Sam to everything that takes one, is small, and says what is wrong with its weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from segment_anything import SamAutomaticMaskGenerator, SamPredictor

from segray.assets import SAM_NANO
from segray.errors import BackendError
from segray.sam.backends.segment_anything.nano import EMBED_DIM, IMAGE_SIZE, build_sam_nano, load_sam_nano


def test_it_is_small_and_its_weights_ship() -> None:
    assert sum(weight.numel() for weight in build_sam_nano().parameters()) <= 4_000_000
    assert SAM_NANO.is_file()
    assert SAM_NANO.stat().st_size <= 8_000_000
    assert {tensor.dtype for tensor in load_file(SAM_NANO).values()} == {torch.float16}


@torch.no_grad()
def test_encoder_keeps_sams_contract() -> None:
    sam = build_sam_nano()
    assert sam.image_encoder.img_size == IMAGE_SIZE
    embedding = sam.image_encoder(torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE))
    assert embedding.shape == (2, EMBED_DIM, *sam.prompt_encoder.image_embedding_size)
    assert not sam.training


@pytest.mark.parametrize("size", [(200, 300), (256, 256), (90, 40)])
def test_predictor_runs_on_it(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    predictor = SamPredictor(load_sam_nano())
    predictor.set_image(image)
    point, label = np.array([[size[1] / 2, size[0] / 2]]), np.array([1])
    masks, quality, low = predictor.predict(point, label, multimask_output=True)
    assert masks.shape == (3, *size)
    assert quality.shape == (3,)
    again, _, _ = predictor.predict(point, label, mask_input=low[:1], box=np.array([5, 5, 30, 30]))
    assert again.shape == (3, *size)


def test_automatic_generator_runs_on_it() -> None:
    image = np.random.default_rng(0).integers(0, 80, (128, 128, 3), np.uint8)
    image[30:90, 40:100] += 150
    generator = SamAutomaticMaskGenerator(
        load_sam_nano(), points_per_side=4, pred_iou_thresh=0.01, stability_score_thresh=0.01
    )
    assert len(generator.generate(image)) > 0


@pytest.mark.parametrize("problem", ["missing file", "other net", "half a net"])
def test_wrong_weights_are_named(tmp_path: Path, problem: str) -> None:
    path = tmp_path / "w.safetensors"
    tensors = load_file(SAM_NANO)
    if problem == "other net":
        save_file({"fc.weight": torch.zeros(2)}, path)
    if problem == "half a net":
        save_file({name: tensor for name, tensor in tensors.items() if "image_encoder" not in name}, path)
    with pytest.raises(BackendError, match="sam-nano"):
        load_sam_nano(path)
