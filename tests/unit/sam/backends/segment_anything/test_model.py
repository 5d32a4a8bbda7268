import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch.nn import functional as F

from segray.config.sam import OriginalSamConfig
from segray.errors import BackendError
from segray.nets.weights import hash_state
from segray.sam.backends.segment_anything import onednn
from segray.sam.backends.segment_anything.build import build
from segray.sam.backends.segment_anything.model import OriginalSam
from segray.sam.backends.segment_anything.nano import build_sam_nano
from segray.sam.protocol import BOX_LOWER_RIGHT, BOX_UPPER_LEFT, NEGATIVE, PADDING, POSITIVE, Prompts

SIZES = [(48, 64), (90, 41), (200, 200)]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def tiny_vit(seed: int = 0) -> Sam:
    torch.manual_seed(seed)
    encoder = ImageEncoderViT(
        img_size=64, patch_size=8, embed_dim=16, depth=1, num_heads=2, out_chans=32, window_size=4, use_rel_pos=True
    )
    prompts = PromptEncoder(embed_dim=32, image_embedding_size=(8, 8), input_image_size=(64, 64), mask_in_chans=4)
    transformer = TwoWayTransformer(depth=2, embedding_dim=32, num_heads=4, mlp_dim=48)
    decoder = MaskDecoder(transformer_dim=32, transformer=transformer, iou_head_hidden_dim=16)
    return Sam(encoder, prompts, decoder).eval()


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def wrapped(model: Sam) -> OriginalSam:
    return OriginalSam(model, name="tiny", weights_hash="0", device=torch.device("cpu"))


def reference(model: Sam, image: np.ndarray, points: torch.Tensor, labels: torch.Tensor, *, multimask: bool):
    """Scores, low-resolution and full-size logits of the package itself, for prompts that are all of one kind."""
    predictor = SamPredictor(model)
    predictor.set_image(image)
    moved = torch.from_numpy(predictor.transform.apply_coords(points.numpy(), image.shape[:2]))
    boxed = labels[0] >= BOX_UPPER_LEFT
    plain, corners = moved[:, ~boxed], moved[:, boxed]
    full, scores, low = predictor.predict_torch(
        plain if plain.shape[1] else None,
        labels[:, ~boxed] if plain.shape[1] else None,
        boxes=corners.flatten(1).float() if corners.shape[1] else None,
        multimask_output=multimask,
        return_logits=True,
    )
    return scores, low, full


@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize(
    "labels",
    [
        [POSITIVE],
        [POSITIVE, NEGATIVE, POSITIVE],
        [POSITIVE, PADDING],
        [BOX_UPPER_LEFT, BOX_LOWER_RIGHT],
        [POSITIVE, BOX_UPPER_LEFT, BOX_LOWER_RIGHT],
    ],
)
def test_scores_and_masks_are_the_package_s_own(labels: list[int], multimask: bool, group: int) -> None:
    model = tiny_vit()
    sam = wrapped(model)
    sam._decoder.largest_part = group
    embedding = sam.embed(images())
    rng = np.random.default_rng(1)
    index = torch.tensor([2, 2, 0, 0, 0, 0, 1])
    widths = torch.tensor([[[embedding.sizes_hw[i][1], embedding.sizes_hw[i][0]]] for i in index])
    points = torch.from_numpy(rng.random((len(index), len(labels), 2))) * widths
    prompts = Prompts(
        image_index=index, points_xy=points, labels=torch.tensor([labels] * len(index)), multimask=multimask
    )
    decoded = sam.decode(embedding, prompts)
    assert decoded.scores.shape == (7, 3 if multimask else 1)
    answers = decoded.scores.shape[1]
    for number, image in enumerate(images()):
        rows = torch.nonzero(index == number)[:, 0]
        scores, low, full = reference(model, image, points[rows], prompts.labels[rows], multimask=multimask)
        torch.testing.assert_close(decoded.scores[rows], scores, **CLOSE)
        keep = (rows[:, None] * answers + torch.arange(answers)).flatten().flip(0)
        logits = sam.logits(decoded, keep)
        torch.testing.assert_close(logits, low.flatten(0, 1).flip(0), **CLOSE)
        torch.testing.assert_close(sam.upscale(logits, image.shape[:2]), full.flatten(0, 1).flip(0), **CLOSE)


def test_only_the_masks_asked_for_in_the_order_asked_for() -> None:
    sam = wrapped(tiny_vit())
    embedding = sam.embed(images()[:1])
    prompts = Prompts(
        image_index=torch.zeros(5, dtype=torch.long),
        points_xy=torch.rand(5, 1, 2, dtype=torch.float64) * 40,
        labels=torch.ones(5, 1),
    )
    decoded = sam.decode(embedding, prompts)
    whole = sam.logits(decoded, torch.arange(15))
    keep = torch.tensor([14, 3, 0, 4])
    torch.testing.assert_close(sam.logits(decoded, keep), whole[keep], **CLOSE)
    assert sam.logits(decoded, keep[:0]).shape == (0, 32, 32)
    assert sam.upscale(whole[:0], (10, 20)).shape == (0, 10, 20)


def test_image_tokens_are_those_after_the_last_block() -> None:
    model = tiny_vit()
    seen = []
    model.mask_decoder.transformer.register_forward_hook(lambda *call: seen.append(call[2][1]))
    sam = wrapped(model)
    points, labels = torch.tensor([[[10.0, 20.0]], [[30.0, 5.0]]]).double(), torch.ones(2, 1)
    embedding = sam.embed(images()[:1])
    prompts = Prompts(image_index=torch.zeros(2, dtype=torch.long), points_xy=points, labels=labels)
    tokens = sam.decode(embedding, prompts, image_tokens=True).image_tokens
    reference(model, images()[0], points, labels, multimask=True)
    torch.testing.assert_close(tokens, seen[0], **CLOSE)
    assert sam.decode(embedding, prompts).image_tokens is None


def test_models_are_frozen() -> None:
    sam = wrapped(tiny_vit().train())
    assert not sam.model.training
    assert not any(parameter.requires_grad for parameter in sam.model.parameters())
    assert not sam.embed(images()[:1]).features[0].keys.requires_grad


@pytest.mark.parametrize("shape", [((1, 5, 7), (1, 7, 3)), ((4, 5, 7), (4, 7, 3))])
def test_products_are_torch_s(shape: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    x, y = (torch.randn(one) for one in shape)
    base, bias = torch.randn(len(x), 5, 3), torch.randn(3)
    torch.testing.assert_close(onednn.matmul(x, y), x @ y)
    torch.testing.assert_close(onednn.matmul(x.mT.contiguous().mT, y.mT.contiguous().mT), x @ y)
    torch.testing.assert_close(onednn.add_matmul(base, x, y), base + x @ y)
    torch.testing.assert_close(onednn.linear(x, y[0].T, bias), F.linear(x, y[0].T, bias))


def test_build_reads_the_weights_it_is_given(tmp_path) -> None:
    model = build_sam_nano()
    state = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, tmp_path / "nano.safetensors")
    sam = build(OriginalSamConfig(weights=str(tmp_path / "nano.safetensors"), device="cpu"))
    assert sam.name == "nano"
    assert sam.weights_hash == hash_state(state)
    weight = sam.model.mask_decoder.iou_token.weight
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, model.mask_decoder.iou_token.weight.half().float())


def test_build_refuses_weights_of_another_architecture(tmp_path) -> None:
    save_file(tiny_vit().state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(BackendError, match=r"vit\.safetensors.*nano.*missing"):
        build(OriginalSamConfig(weights=str(tmp_path / "vit.safetensors"), device="cpu"))


def test_build_says_which_weights_are_missing(tmp_path) -> None:
    with pytest.raises(BackendError, match=r"absent\.pth.*does not exist"):
        build(OriginalSamConfig(model="vit_b", weights=str(tmp_path / "absent.pth"), device="cpu"))
