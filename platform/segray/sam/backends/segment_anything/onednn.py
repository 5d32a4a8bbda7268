"""fp32 matmuls routed to oneDNN on the CPU; everywhere else torch chooses.

Kept by its benchmark: torch sends fp32 products to MKL, which got 101 GFLOP/s out of one AMD AVX-512 core where oneDNN
got 237. On the same kind of core shared with other jobs both are held to 70 to 100 GFLOP/s (oneDNN 0.9 to 1.25 times
MKL), and mask generation takes the same time with either. The operation is torch's own, used by its compiler, and
private; where a build lacks it, the plain one does the same sums.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

ONEDNN: Final = hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `F.linear` of x (..., K) and weight (M, K), of any strides."""
    if not _fits_onednn(x, weight):
        return F.linear(x, weight, bias)
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """Return x (G, M, K) @ y (G, K, N)."""
    if len(x) == 1 and _fits_onednn(x, y):
        return linear(x[0], y[0].T)[None]
    return x @ y


def add_matmul(base: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return base (G, M, N) + x (G, M, K) @ y (G, K, N)."""
    if len(x) > 1 or not _fits_onednn(x, y):
        return torch.baddbmm(base, x, y)
    out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x[0], base[0], y[0].T, None, "add")
    return out[None]


def _fits_onednn(x: Tensor, y: Tensor) -> bool:
    if not ONEDNN or x.device.type != "cpu" or x.numel() == 0:
        return False
    recorded = torch.is_grad_enabled() and (x.requires_grad or y.requires_grad)
    return x.dtype == y.dtype == torch.float32 and not recorded and not torch.is_autocast_enabled("cpu")
