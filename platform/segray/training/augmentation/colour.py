"""Strong views: colour on top of geometry, one draw per image, on whatever device the images are.

Colour jitter in a random order, grey, blur (docs/methods/guided-distillation.md#strong-view; UniMatch's numbers are in
docs/methods/unimatch.md#strong-views). Knows no masks: nothing moves.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torchvision.transforms.v2 import functional

from segray import keyed_random
from segray.config.views import StrongView

Change = Callable[[torch.Tensor], torch.Tensor]


def strong_view(images: torch.Tensor, settings: StrongView, keys: Sequence[int]) -> torch.Tensor:
    """The images (B, 3, H, W) uint8 recoloured, each by its key alone; new memory."""
    return torch.stack([_changed(image, settings, key) for image, key in zip(images, keys, strict=True)])


def _changed(image: torch.Tensor, settings: StrongView, key: int) -> torch.Tensor:
    """One image (3, H, W). All draws are made whatever happens, so that a share changes only what it is a share of."""
    rng = keyed_random.rng(key, "strong")
    jittered, greyed, blurred = rng.random(3) < (settings.jitter, settings.grey, settings.blur)
    jitter, sigma = _jitter(settings, rng), rng.uniform(*settings.blur_sigma)
    for change in jitter if jittered else []:
        image = change(image)
    if greyed:
        image = functional.rgb_to_grayscale(image, num_output_channels=3)
    return _blur(image, sigma) if blurred else image


def _jitter(settings: StrongView, rng: np.random.Generator) -> list[Change]:
    """The four changes in a drawn order, each with a drawn amount."""

    def factor(amount: float) -> float:
        return float(rng.uniform(max(0.0, 1 - amount), 1 + amount))

    brightness, contrast, saturation = (
        factor(amount) for amount in (settings.brightness, settings.contrast, settings.saturation)
    )
    hue = float(rng.uniform(-settings.hue, settings.hue))
    changes: list[Change] = [
        lambda image: functional.adjust_brightness(image, brightness),
        lambda image: functional.adjust_contrast(image, contrast),
        lambda image: functional.adjust_saturation(image, saturation),
        lambda image: functional.adjust_hue(image, hue),
    ]
    return [changes[index] for index in rng.permutation(4)]


def _blur(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian, cut at three deviations."""
    side = 2 * int(np.ceil(3 * sigma)) + 1
    blurred: torch.Tensor = functional.gaussian_blur(image, [side, side], [sigma, sigma])
    return blurred
