import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from segray.config.sam import HfSamConfig
from segray.nets.weights import load_state
from segray.sam.backends.transformers.build import build
from segray.sam.backends.transformers.model import HfSam
from segray.sam.protocol import Prompts

Folder = Callable[[str], Path]
Loaded = Callable[[str], HfSam]

# The classes that transformers itself would read each checkpoint with.
ORACLES = {
    "sam": ("SamModel", "SamProcessor", "SamImageProcessor"),
    "sam_hq": ("SamHQModel", "SamHQProcessor", "SamImageProcessor"),
    "sam2": ("Sam2Model", "Sam2Processor", "Sam2ImageProcessor"),
    "sam2_video": ("Sam2Model", "Sam2Processor", "Sam2ImageProcessor"),
    "sam3_tracker": ("Sam3TrackerModel", "Sam3TrackerProcessor", "Sam3ImageProcessor"),
}
SIZES = [(40, 90), (71, 33)]
PROMPTS: dict[str, dict[str, list[Any]]] = {
    # Per prompt, the same for both images: points, their labels, a box.
    "a point": {"points": [[[5, 9]], [[30, 20]], [[12, 38]]], "labels": [[1], [1], [0]]},
    "points and padding": {
        "points": [[[5, 9], [20, 8], [3, 3]], [[30, 20], [1, 2], [0, 0]]],
        "labels": [[1, 0, 1], [1, 0, -1]],
    },
    "a box": {"boxes": [[2, 3, 25, 30], [10, 4, 31, 38]]},
    "a box and points": {
        "points": [[[5, 9], [7, 7]], [[30, 20], [9, 1]]],
        "labels": [[1, 0], [0, 1]],
        "boxes": [[2, 3, 25, 30], [9, 1, 31, 39]],
    },
}


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def load(folder: Path) -> HfSam:
    return build(HfSamConfig(model=str(folder), device="cpu"))


@cache
def reference(model_name: str, folder: Path) -> Any:
    return getattr(transformers, model_name).from_pretrained(folder, dtype=torch.float32).eval()


def oracle(
    kind: str, folder: Path, given: dict[str, list[Any]], *, multimask: bool
) -> tuple[Any, Any, list[torch.Tensor]]:
    """Scores (B, P, M), masks (B, P, M, h, w), upscaled masks of each image and the transformer's image tokens."""
    model_name, processor_name, image_processor_name = ORACLES[kind]
    model = reference(model_name, folder)
    image_processor = getattr(transformers, image_processor_name).from_pretrained(folder)
    processor = getattr(transformers, processor_name)(image_processor)
    keys = {"points": "input_points", "labels": "input_labels", "boxes": "input_boxes"}
    inputs = processor(
        images=images(), return_tensors="pt", **{keys[key]: [value] * len(SIZES) for key, value in given.items()}
    )
    tokens: list[torch.Tensor] = []
    keep = model.mask_decoder.transformer.register_forward_hook(lambda _, __, out: tokens.append(out[1]))
    # For SAM-HQ alone this changes anything: its decoder there forgets to take the transformer's image tokens.
    mend = model.mask_decoder.upscale_conv1.register_forward_pre_hook(
        lambda _, args: tokens[0][:, 0].transpose(1, 2).reshape(args[0].shape)
    )
    sizes = {key: inputs.pop(key) for key in ("original_sizes", "reshaped_input_sizes") if key in inputs}
    floats = {key: value.float() if value.is_floating_point() else value for key, value in inputs.items()}
    with torch.no_grad():
        out = model(**floats, multimask_output=multimask)
    keep.remove()
    mend.remove()
    upscaled = processor.post_process_masks(list(out.pred_masks.flatten(1, 2)[:, None]), **sizes, binarize=False)
    return out, tokens[0], [one[0] for one in upscaled]


def as_prompts(given: dict[str, list[Any]], *, multimask: bool, order: torch.Tensor) -> Prompts:
    num = len(next(iter(given.values())))
    points = torch.tensor(given.get("points", [[]] * num), dtype=torch.float32).reshape(num, -1, 2)
    labels = torch.tensor(given.get("labels", [[]] * num), dtype=torch.int64).reshape(num, -1)
    corners = torch.tensor(given.get("boxes", [[]] * num), dtype=torch.float32).reshape(num, -1, 2)
    points = torch.cat([points, corners], dim=1)
    labels = torch.cat([labels, torch.tensor([2, 3]).expand(num, 2)[:, : corners.shape[1]]], dim=1)
    index = torch.arange(len(SIZES)).repeat_interleave(num)
    return Prompts(
        image_index=index[order],
        points_xy=points.repeat(len(SIZES), 1, 1)[order],
        labels=labels.repeat(len(SIZES), 1)[order],
        multimask=multimask,
    )


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("given", PROMPTS.values(), ids=PROMPTS)
@pytest.mark.parametrize("kind", ORACLES)
def test_answers_are_those_of_transformers(
    kind: str, given: dict[str, list[Any]], multimask: bool, hf_folder: Folder, hf_sam: Loaded
) -> None:
    expected, expected_tokens, expected_upscaled = oracle(kind, hf_folder(kind), given, multimask=multimask)
    num_prompts = expected.iou_scores.shape[1] * len(SIZES)
    order = torch.randperm(num_prompts, generator=torch.Generator().manual_seed(1))
    sam = hf_sam(kind)

    embedding = sam.embed(images())
    decoded = sam.decode(embedding, as_prompts(given, multimask=multimask, order=order), image_tokens=True)

    scores = expected.iou_scores.flatten(0, 1)[order]
    assert decoded.scores.dtype == torch.float32
    assert decoded.scores.shape == scores.shape == (num_prompts, 3 if multimask else 1)
    assert torch.allclose(decoded.scores, scores, atol=1e-4)
    assert scores.std() > 1e-3

    assert decoded.image_tokens is not None
    assert torch.allclose(decoded.image_tokens, expected_tokens[:, 0][order], atol=1e-4)

    masks = expected.pred_masks.flatten(0, 1)[order].flatten(0, 1)
    keep = torch.randperm(len(masks), generator=torch.Generator().manual_seed(2))[: len(masks) * 2 // 3 + 1]
    logits = sam.logits(decoded, keep)
    assert torch.allclose(logits, masks[keep], atol=1e-4 * float(masks.abs().max().clamp(min=1)))
    assert masks.std() > 0.1

    for index, size in enumerate(SIZES):
        upscaled = sam.upscale(expected.pred_masks[index].flatten(0, 1), size)
        assert upscaled.shape[1:] == size
        assert torch.allclose(upscaled, expected_upscaled[index], atol=1e-4)


@pytest.mark.parametrize("kind", ["sam2", "sam3_tracker"])
def test_single_masks_fall_back_where_unstable(kind: str, hf_sam: Loaded) -> None:
    sam = hf_sam(kind)
    points = torch.rand(40, 1, 2, generator=torch.Generator().manual_seed(0)) * 30
    prompts = Prompts(
        image_index=torch.arange(40) % 2, points_xy=points, labels=torch.ones(40, 1, dtype=torch.int64), multimask=False
    )
    chosen = sam.decode(sam.embed(images()), prompts).handle.chosen
    assert 0 < (chosen == 0).sum() < 40


@pytest.mark.parametrize("kind", ORACLES)
def test_a_prompt_answers_the_same_among_others_of_another_kind(kind: str, hf_sam: Loaded) -> None:
    sam = hf_sam(kind)
    embedding = sam.embed(images())
    prompts = Prompts(
        image_index=torch.tensor([1, 0, 1, 0]),
        points_xy=torch.tensor([[[2, 3], [25, 30]], [[5, 9], [6, 6]], [[1, 1], [30, 40]], [[8, 8], [40, 3]]]).float(),
        labels=torch.tensor([[2, 3], [1, 0], [2, 3], [1, 1]]),
    )
    together = sam.decode(embedding, prompts)
    together_logits = sam.logits(together, torch.arange(12))
    for row in range(4):
        one = slice(row, row + 1)
        alone = sam.decode(
            embedding,
            Prompts(image_index=prompts.image_index[one], points_xy=prompts.points_xy[one], labels=prompts.labels[one]),
        )
        assert torch.allclose(alone.scores, together.scores[one], atol=1e-5)
        expected = sam.logits(alone, torch.arange(3))
        assert torch.allclose(together_logits[3 * row : 3 * row + 3], expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["sam2_video", "sam3_tracker_video", "sam3_video"])
def test_video_checkpoints_give_their_image_part(kind: str, hf_folder: Folder, hf_sam: Loaded) -> None:
    given = load_state(str(hf_folder(kind) / "model.safetensors"))
    # SAM 3's detector has a neck of its own, which is not the tracker's.
    given = {
        name: tensor for name, tensor in given.items() if not name.startswith("detector_model.vision_encoder.neck")
    }
    loaded = hf_sam(kind)._family.model.state_dict()
    for name, tensor in loaded.items():
        candidates = [other for key, other in given.items() if key.endswith(name.removeprefix("vision_encoder."))]
        assert any(torch.equal(tensor, other) for other in candidates), name
    assert len(loaded) > 100


def test_images_three_pixels_high_are_taken_as_rows_first(hf_sam: Loaded) -> None:
    flat = np.arange(3 * 50 * 3, dtype=np.uint8).reshape(3, 50, 3)
    assert hf_sam("sam2").embed([flat]).sizes_hw == ((3, 50),)


def test_models_are_frozen(hf_sam: Loaded) -> None:
    model = hf_sam("sam")._family.model
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def edited(folder: Path, target: Path, **entries: Any) -> Path:
    """A copy of a checkpoint whose config has other entries; None takes one out."""
    shutil.copytree(folder, target)
    path = target / "config.json"
    config = {**json.loads(path.read_text()), **entries}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return target


def test_the_hash_follows_weights_and_settings_alone(hf_folder: Folder, tmp_path: Path) -> None:
    def hash_of(folder: Path) -> str:
        return load(folder).weights_hash

    folder = hf_folder("sam")
    assert hash_of(folder) == hash_of(edited(folder, tmp_path / "moved", transformers_version="5.99"))
    assert hash_of(folder) != hash_of(hf_folder("sam_hq"))
    mean = tmp_path / "mean"
    shutil.copytree(folder, mean)
    path = mean / "preprocessor_config.json"
    path.write_text(path.read_text().replace("0.485", "0.5"))
    assert hash_of(mean) != hash_of(folder)


def test_sharded_checkpoints_are_read_whole(hf_folder: Folder, tmp_path: Path) -> None:
    folder = hf_folder("sam")
    model = transformers.SamModel.from_pretrained(folder)
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    shutil.copy(folder / "preprocessor_config.json", tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert load(tmp_path).weights_hash == load(folder).weights_hash
