"""Structural distillation, SAM's side: how alike the places of an image are to SAM when it is asked about one of them.

S4M (arXiv 2504.05301), stage 1. Image tokens attend to the prompt, so each query point is a prompt of its own. SAM
sees the canvas as the student does, padding included, and every place is counted on the canvas: the released code
divides by the size without padding and so looks up other cells than it prompts. Knows nothing of the student.
"""

import math

import torch
from torch import Tensor

from segray.losses.criterion import Targets
from segray.losses.points import values_at
from segray.masks.view import View
from segray.methods.s4m.distillation import Structure
from segray.nets.batching import ShrinkingBatches
from segray.sam.protocol import POSITIVE, Embedding, Prompts, Sam


def query_points(targets: Targets, view: View, *, key: int, number: int) -> Tensor:
    """Canvas pixels (number, 2) xy: half from the masks' union without replacement, half from all of the image.

    Where the masks have too few pixels, more come from all of the image.
    """
    masks, (height, width) = targets.masks, view.canvas_hw
    generator = torch.Generator(masks.device).manual_seed(key)
    y, x = masks.any(0).nonzero(as_tuple=True)
    chosen = torch.randperm(len(x), device=masks.device, generator=generator)[: number // 2]
    share = torch.stack([(x[chosen] + 0.5) / masks.shape[2], (y[chosen] + 0.5) / masks.shape[1]], dim=1)
    anywhere = torch.rand(number - len(chosen), 2, device=masks.device, generator=generator)
    rows, columns = view.valid_hw
    return torch.cat([share * share.new_tensor([width, height]), anywhere * anywhere.new_tensor([columns, rows])])


def sam_structure(sam: Sam, images: Tensor, points: Tensor) -> list[Structure]:
    """SAM's similarities at query points (B, Q, 2) xy of canvases (B, 3, H, W) uint8, on the images' device.

    The cells are SAM's own, as many as lie on the canvas.
    """
    height, width = images.shape[2:]
    number, queries = points.shape[:2]
    embedding = sam.embed(list(images.permute(0, 2, 3, 1).contiguous().cpu().numpy()))
    fill_hw = sam.fill_hw((height, width))
    shares = (points.flatten(0, 1) / points.new_tensor([width, height])).to(sam.device)

    def cosines(part: slice) -> Tensor:
        prompts = Prompts(
            image_index=torch.arange(number).repeat_interleave(queries)[part],
            points_xy=points.flatten(0, 1)[part, None].cpu(),
            labels=torch.full((part.stop - part.start, 1), POSITIVE),
            multimask=False,
        )
        return _cosines(sam, embedding, prompts, shares[part] * shares.new_tensor([fill_hw[1], fill_hw[0]]))

    parts = ShrinkingBatches(sam.prompts_at_once).map(number * queries, cosines)
    similarities = _on_canvas(torch.cat(parts), fill_hw).to(images.device)
    grid_hw = (similarities.shape[1], similarities.shape[2])
    cells = _cells(shares, grid_hw).to(images.device).view(number, queries)
    return [
        Structure(grid_hw=grid_hw, cells=own, similarities=alike)
        for own, alike in zip(cells, similarities.view(number, queries, -1), strict=True)
    ]


def _cosines(sam: Sam, embedding: Embedding, prompts: Prompts, shares: Tensor) -> Tensor:
    """Between the token under each prompt, at `shares` (P, 2) xy of SAM's square, and all of them, (P, h, w)."""
    tokens = sam.decode(embedding, prompts, image_tokens=True).image_tokens
    assert tokens is not None
    tokens = tokens.float()
    side = math.isqrt(tokens.shape[1])
    own = tokens[torch.arange(len(tokens), device=tokens.device), _cells(shares, (side, side))]
    norms = tokens.norm(dim=2) * own.norm(dim=1, keepdim=True)
    cosines: Tensor = (tokens @ own[:, :, None])[:, :, 0] / norms.clamp(min=1e-6)
    return cosines.view(-1, side, side)


def _on_canvas(maps: Tensor, fill_hw: tuple[float, float]) -> Tensor:
    """Maps (P, h, w) of SAM's square at the centres of the canvas's cells: SAM's, where these end with the canvas."""
    rows, columns = (max(1, round(side * fill)) for side, fill in zip(maps.shape[1:], fill_hw, strict=True))
    y = (torch.arange(rows, device=maps.device) + 0.5) / rows * fill_hw[0]
    x = (torch.arange(columns, device=maps.device) + 0.5) / columns * fill_hw[1]
    centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2).view(1, -1, 2)
    return values_at(maps[:, None], centres.expand(len(maps), -1, -1)).view(-1, rows, columns)


def _cells(shares: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """The cells, row by row, in which points lie that are given as shares (P, 2) xy of the grid."""
    height, width = grid_hw
    x, y = (shares * shares.new_tensor([width, height])).long().unbind(1)
    return y.clamp(max=height - 1) * width + x.clamp(max=width - 1)
