"""The convolutional trunk of the nano models: an image to features at strides 4 to 32.

Knows its layers. Knows nothing of what is built on it: sam-nano's
encoder fuses the features, a student's decoders read them.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS: Final = (64, 128, 160, 192)
"""Of the features at strides 4, 8, 16 and 32."""
POSITION_CHANNELS: Final = 32


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut; the shape stays (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm_act(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, after the activation."""
        return F.relu(x + self.body(x))


def conv_norm_act(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    """3x3 convolution, batch norm, ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]


def stage(in_channels: int, out_channels: int, num_blocks: int) -> nn.Sequential:
    """Halve the resolution, then `num_blocks` residual blocks."""
    blocks = [ResidualBlock(out_channels) for _ in range(num_blocks)]
    return nn.Sequential(*conv_norm_act(in_channels, out_channels, stride=2), *blocks)


def sinusoids(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Sines and cosines of x and y, as shares of the canvas, at rising frequencies: (1, POSITION_CHANNELS, H, W)."""

    def waves(cells: int) -> Tensor:
        place = (torch.arange(cells, device=device) + 0.5) / cells
        frequency = 0.5 * 2 ** (torch.arange(POSITION_CHANNELS // 4, device=device) / 2)
        phase = torch.pi * place[None] * frequency[:, None]
        return torch.cat([phase.sin(), phase.cos()])

    x = waves(width)[:, None].expand(-1, height, -1)
    y = waves(height)[:, :, None].expand(-1, -1, width)
    return torch.cat([x, y])[None].contiguous()


class Trunk(nn.Module):
    """Normalised images (B, 3, H, W), sides multiples of 32 -> features at strides 4, 8, 16, 32 (CHANNELS wide).

    Convolutions do not know where they are, so a place is added at stride 8: without it, pixels of one texture in two
    places look alike to whatever reads the features.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_norm_act(3, 32, stride=2))
        self.stride4 = stage(32, 64, 2)
        self.stride8 = stage(64, 128, 2)
        self.stride16 = stage(128, 160, 2)
        self.stride32 = stage(160, 192, 1)
        self.place_early = nn.Conv2d(POSITION_CHANNELS, 128, 1)

    def pyramid(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features at strides 4, 8, 16 and 32."""
        x4 = self.stride4(self.stem(images.contiguous(memory_format=torch.channels_last)))
        x8 = self.stride8(x4)
        x8 = x8 + self.place_early(sinusoids(x8.shape[2], x8.shape[3], x8.device))
        x16 = self.stride16(x8)
        return x4, x8, x16, self.stride32(x16)
