"""What every backend must do alike, whatever is behind it."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest
import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling import Sam as OriginalModel
from torch import nn

from segray.sam.backends.segment_anything.model import OriginalSam
from segray.sam.backends.segment_anything.nano import build_sam_nano
from segray.sam.protocol import BOX_LOWER_RIGHT, BOX_UPPER_LEFT, NEGATIVE, PADDING, POSITIVE, Decoded, Prompts, Sam

KINDS = ["nano", "vit", "sam", "sam_hq", "sam2", "sam2_video", "sam3_tracker"]
SIZES = [(40, 90), (71, 33), (64, 64)]
FAR = {"atol": 2e-4, "rtol": 1e-4}


def tiny_vit() -> OriginalModel:
    return OriginalModel(
        image_encoder=ImageEncoderViT(
            img_size=64,
            patch_size=8,
            embed_dim=24,
            depth=2,
            num_heads=2,
            out_chans=32,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=4,
            global_attn_indexes=(1,),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=32, image_embedding_size=(8, 8), input_image_size=(64, 64), mask_in_chans=4
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=32, transformer=TwoWayTransformer(depth=2, embedding_dim=32, num_heads=2, mlp_dim=32)
        ),
    )


def original(model: OriginalModel, name: str) -> OriginalSam:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.03)
    return OriginalSam(model, name=name, weights_hash="0", device=torch.device("cpu"))


@pytest.fixture(scope="session")
def any_sam(hf_sam: Callable[[str], Sam]) -> Callable[[str], Sam]:
    @cache
    def sam(kind: str) -> Sam:
        torch.manual_seed(0)
        makers = {"nano": build_sam_nano, "vit": tiny_vit}
        return original(makers[kind](), kind) if kind in makers else hf_sam(kind)

    return sam


@pytest.fixture(params=KINDS)
def sam(request: pytest.FixtureRequest, any_sam: Callable[[str], Sam]) -> Sam:
    return any_sam(request.param)


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def prompts(num: int, *, multimask: bool = True) -> Prompts:
    """Two points each, the second of either kind or padding; images in no order."""
    rng = torch.Generator().manual_seed(num)
    second = torch.randint(PADDING, POSITIVE + 1, (num,), generator=rng)
    return Prompts(
        image_index=torch.randint(0, len(SIZES), (num,), generator=rng),
        points_xy=torch.rand(num, 2, 2, generator=rng) * 33,
        labels=torch.stack([torch.ones_like(second), second], dim=1),
        multimask=multimask,
    )


def part(whole: Prompts, rows: torch.Tensor, index: torch.Tensor | None = None) -> Prompts:
    return Prompts(
        image_index=whole.image_index[rows] if index is None else index,
        points_xy=whole.points_xy[rows],
        labels=whole.labels[rows],
        multimask=whole.multimask,
    )


def all_logits(sam: Sam, decoded: Decoded) -> torch.Tensor:
    return sam.logits(decoded, torch.arange(decoded.scores.numel())).unflatten(0, decoded.scores.shape)


@pytest.mark.parametrize("multimask", [True, False])
def test_shapes_types_and_no_gradients(sam: Sam, multimask: bool) -> None:
    embedding = sam.embed(images())
    decoded = sam.decode(embedding, prompts(7, multimask=multimask))
    assert len(embedding) == len(SIZES)
    assert embedding.sizes_hw == tuple(SIZES)
    assert decoded.scores.shape == (7, 3 if multimask else 1)
    assert decoded.image_tokens is None
    logits = sam.logits(decoded, torch.tensor([2, 0]))
    side = logits.shape[-1]
    assert logits.shape == (2, side, side)
    upscaled = sam.upscale(logits, SIZES[0])
    assert upscaled.shape == (2, *SIZES[0])
    for tensor in (decoded.scores, logits, upscaled):
        assert tensor.dtype == torch.float32
        assert tensor.isfinite().all()
        assert not tensor.requires_grad
        assert not tensor.is_inference()
    assert logits.std() > 0.01
    assert sam.prompts_at_once >= 1


@pytest.mark.parametrize("size_hw", SIZES)
def test_an_image_fills_what_upscale_shows_of_the_square(sam: Sam, size_hw: tuple[int, int]) -> None:
    place = (torch.arange(64) + 0.5) / 64
    downward = sam.upscale(place[None, :, None].expand(1, 64, 64).contiguous(), size_hw)
    rightward = sam.upscale(place[None, None].expand(1, 64, 64).contiguous(), size_hw)
    assert (downward.max(), rightward.max()) == pytest.approx(sam.fill_hw(size_hw), abs=0.02)


def test_image_tokens_come_on_request(sam: Sam) -> None:
    decoded = sam.decode(sam.embed(images()), prompts(5), image_tokens=True)
    assert decoded.image_tokens is not None
    num, cells, channels = decoded.image_tokens.shape
    assert num == 5
    assert int(cells**0.5) ** 2 == cells
    assert channels >= 32
    assert not torch.allclose(decoded.image_tokens[0], decoded.image_tokens[1], **FAR)


def test_an_image_is_the_same_alone_and_among_others(sam: Sam) -> None:
    together = sam.embed(images())
    whole = prompts(12)
    decoded = sam.decode(together, whole)
    masks = all_logits(sam, decoded)
    for index, image in enumerate(images()):
        rows = (whole.image_index == index).nonzero()[:, 0]
        assert len(rows)
        alone = sam.decode(sam.embed([image]), part(whole, rows, torch.zeros_like(rows)))
        assert torch.allclose(alone.scores, decoded.scores[rows], **FAR)
        assert torch.allclose(all_logits(sam, alone), masks[rows], **FAR)


@pytest.mark.parametrize("multimask", [True, False])
def test_answers_follow_the_order_of_prompts(sam: Sam, multimask: bool) -> None:
    embedding = sam.embed(images())
    whole = prompts(12, multimask=multimask)
    decoded = sam.decode(embedding, whole, image_tokens=True)
    masks = all_logits(sam, decoded)
    assert decoded.image_tokens is not None
    for order in (torch.arange(11, -1, -1), whole.image_index.argsort(), torch.tensor([4])):
        other = sam.decode(embedding, part(whole, order), image_tokens=True)
        assert other.image_tokens is not None
        assert torch.allclose(other.scores, decoded.scores[order], **FAR)
        assert torch.allclose(all_logits(sam, other), masks[order], **FAR)
        assert torch.allclose(other.image_tokens, decoded.image_tokens[order], **FAR)


@pytest.mark.parametrize("keep", [[], [5], [0, 1, 2], [8, 3, 8, 0, 20, 4]], ids=str)
def test_logits_are_of_the_masks_asked_for(sam: Sam, keep: list[int]) -> None:
    decoded = sam.decode(sam.embed(images()), prompts(7))
    masks = all_logits(sam, decoded).flatten(0, 1)
    wanted = torch.tensor(keep, dtype=torch.int64)
    logits = sam.logits(decoded, wanted)
    assert logits.shape == (len(keep), *masks.shape[1:])
    assert torch.allclose(logits, masks[wanted], **FAR)


@pytest.mark.parametrize("kind", KINDS[2:])
def test_a_box_is_the_same_alone_and_among_points(kind: str, any_sam: Callable[[str], Sam]) -> None:
    # Not of the original backend, which, as its package, takes prompts that all have a box or all have none.
    sam = any_sam(kind)
    embedding = sam.embed(images())
    whole = Prompts(
        image_index=torch.tensor([1, 0, 1, 0]),
        points_xy=torch.tensor([[[2, 3], [25, 30]], [[5, 9], [6, 6]], [[1, 1], [30, 40]], [[8, 8], [40, 3]]]).float(),
        labels=torch.tensor(
            [
                [BOX_UPPER_LEFT, BOX_LOWER_RIGHT],
                [POSITIVE, NEGATIVE],
                [BOX_UPPER_LEFT, BOX_LOWER_RIGHT],
                [POSITIVE, POSITIVE],
            ]
        ),
    )
    decoded = sam.decode(embedding, whole)
    masks = all_logits(sam, decoded)
    for row in torch.arange(4):
        alone = sam.decode(embedding, part(whole, row[None]))
        assert torch.allclose(alone.scores[0], decoded.scores[row], **FAR)
        assert torch.allclose(all_logits(sam, alone)[0], masks[row], **FAR)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.int32])
def test_points_may_be_of_any_numbers(sam: Sam, dtype: torch.dtype) -> None:
    embedding = sam.embed(images())
    whole = prompts(3)
    points = whole.points_xy.round()
    answers = [
        sam.decode(
            embedding,
            Prompts(image_index=whole.image_index, points_xy=points.to(kind), labels=whole.labels.to(torch.int32)),
        ).scores
        for kind in (torch.float32, dtype)
    ]
    assert torch.allclose(*answers, **FAR)


@pytest.mark.parametrize("size", [(40, 90), (90, 40), (5, 300), (1, 1), (64, 64)])
@pytest.mark.parametrize("kind", KINDS)
def test_upscaling_takes_the_padding_away(kind: str, size: tuple[int, int], any_sam: Callable[[str], Sam]) -> None:
    sam = any_sam(kind)
    side = sam.logits(sam.decode(sam.embed(images()), prompts(1)), torch.tensor([0])).shape[-1]
    ramp = torch.linspace(-1, 1, side).expand(1, side, side)
    # How much of the square input the image takes up, down and across.
    shown = [1.0, 1.0] if kind.startswith(("sam2", "sam3")) else [length / max(size) for length in size]
    down, across = (-1 + 2 * part * (torch.arange(n) + 0.5) / n for part, n in zip(shown, size, strict=True))
    assert torch.allclose(sam.upscale(ramp, size), across.expand(1, *size), atol=0.08)
    assert torch.allclose(sam.upscale(ramp.mT, size), down[:, None].expand(1, *size), atol=0.08)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (3, 40), (400, 1), (3, 3)])
def test_odd_images_are_taken(sam: Sam, size: tuple[int, int]) -> None:
    embedding = sam.embed([images()[0], np.full((*size, 3), 90, dtype=np.uint8)])
    here = Prompts(
        image_index=torch.tensor([1]), points_xy=torch.zeros(1, 1, 2), labels=torch.ones(1, 1, dtype=torch.int64)
    )
    decoded = sam.decode(embedding, here)
    assert decoded.scores.isfinite().all()
    assert sam.upscale(sam.logits(decoded, torch.tensor([0])), size).shape == (1, *size)


def test_nothing_given_is_changed(sam: Sam) -> None:
    given = images()
    whole = prompts(4)
    before = [image.copy() for image in given], whole.points_xy.clone(), whole.labels.clone()
    decoded = sam.decode(sam.embed(given), whole)
    first = all_logits(sam, decoded)
    assert torch.equal(all_logits(sam, decoded), first)
    assert all(np.array_equal(image, old) for image, old in zip(given, before[0], strict=True))
    assert torch.equal(whole.points_xy, before[1])
    assert torch.equal(whole.labels, before[2])
