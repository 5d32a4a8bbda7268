"""The batched decoder agrees with the package's, and the losses mean what they say."""

import numpy as np
import pytest
import torch

from segray.sam.backends.segment_anything.nano import EMBED_DIM, build_sam_nano
from tools.nano.sam_data import PromptBatch
from tools.nano.sam_step import GroupingHead, TargetPrompts, decode, mask_iou, mask_losses, step_losses


@torch.no_grad()
def test_decode_agrees_with_the_packages_decoder() -> None:
    torch.manual_seed(0)
    sam = build_sam_nano()
    embeddings = torch.randn(2, EMBED_DIM, 32, 32)
    coords, labels = torch.rand(3, 2, 2) * 256, torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, -1.0]])
    index = torch.tensor([1, 0, 1])
    logits, iou = decode(sam, embeddings, index, TargetPrompts(coords, labels))
    for row, image in enumerate(index.tolist()):
        sparse, dense = sam.prompt_encoder(points=(coords[[row]], labels[[row]]), boxes=None, masks=None)
        masks, quality = sam.mask_decoder.predict_masks(
            embeddings[[image]], sam.prompt_encoder.get_dense_pe(), sparse, dense
        )
        assert torch.allclose(logits[row], masks[0], atol=1e-4)
        assert torch.allclose(iou[row], quality[0], atol=1e-4)


def _square(low: int, high: int) -> torch.Tensor:
    target = torch.zeros(1, 32, 32)
    target[:, low:high, low:high] = 1
    return target


@pytest.mark.parametrize(("low", "high", "expected"), [(8, 24, 1.0), (8, 16, 0.25), (24, 32, 0.0)])
def test_iou_and_loss_order(low: int, high: int, expected: float) -> None:
    target = _square(8, 24)
    logits = (_square(low, high)[:, None] * 2 - 1) * 8
    assert mask_iou(logits, target).item() == pytest.approx(expected)
    perfect = (target[:, None] * 2 - 1) * 8
    better, worse = mask_losses(perfect, target).item(), mask_losses(logits, target).item()
    assert better < 0.05
    assert worse == pytest.approx(better) if expected == 1.0 else worse > better + 0.3


@pytest.mark.parametrize("side", [128, 256])
def test_a_few_steps_on_one_batch_lower_the_loss(side: int) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 80, (2, 256, 256, 3), np.uint8)
    masks = np.zeros((4, 256, 256), np.bool_)
    for row in range(4):
        masks[row, 40 + 20 * row : 140 + 20 * row, 60:180] = True
        images[row // 2][masks[row]] += 90
    groups = np.stack([masks[0] + 2 * masks[1], masks[2] + 2 * masks[3]]).astype(np.uint8)
    batch = PromptBatch(images, masks, groups)
    sam, head = build_sam_nano().train(), GroupingHead(EMBED_DIM)
    optimizer = torch.optim.AdamW([*sam.parameters(), *head.parameters()], lr=1e-3)
    losses = []
    for _ in range(8):
        named = step_losses(sam, head, batch, np.random.default_rng(1), second_round=1, side=side)
        optimizer.zero_grad()
        named["loss"].backward()
        optimizer.step()
        losses.append(named["loss"].item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in sam.parameters())
