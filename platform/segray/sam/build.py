"""From a config to a Sam, and to what is worth knowing of one before any is built.

Knows which backend serves which kind of config. Knows nothing of how they work.
"""

import dataclasses
from dataclasses import dataclass

import torch

from segray.assets import SAM_NANO
from segray.config import sam as config
from segray.nets.weights import check_fit, hash_state, load_state
from segray.sam.backends.segment_anything.model import ARCHITECTURES, build_original
from segray.sam.backends.transformers.checkpoint import load_checkpoint, open_checkpoint
from segray.sam.backends.transformers.model import build_hf
from segray.sam.protocol import Sam


@dataclass(frozen=True, kw_only=True)
class SamCard:
    """What names a model's results."""

    name: str
    """Model, for people."""
    weights_hash: str
    """Hex digest, the same as the built model's."""


def build(settings: config.SamConfig) -> Sam:
    """Load the model, frozen, on its device.

    Raises:
        BackendError: weights missing, damaged or of another architecture, or the device is not there.
    """
    match settings:
        case config.OriginalSamConfig():
            return build_original(settings)
        case config.HfSamConfig():
            return build_hf(settings)


def build_beside(settings: config.SamConfig, device: torch.device) -> Sam:
    """As `build`, where `auto` means the device of what runs beside it.

    Raises:
        BackendError: as `build`.
    """
    where: config.Device = "cuda" if device.type == "cuda" else "cpu"
    return build(dataclasses.replace(settings, device=where) if settings.device == "auto" else settings)


def describe(settings: config.SamConfig) -> SamCard:
    """Check, on the CPU and without the model's device, that the weights are there and fit; name them.

    A job calls this before it takes any machine; a hub model is fetched by it.

    Raises:
        BackendError: as `build`, but for the device.
    """
    match settings:
        case config.OriginalSamConfig():
            return _describe_original(settings)
        case config.HfSamConfig():
            checkpoint = open_checkpoint(settings)
            load_checkpoint(checkpoint)
            return SamCard(name=checkpoint.name, weights_hash=checkpoint.weights_hash)


def _describe_original(settings: config.OriginalSamConfig) -> SamCard:
    location = settings.weights or str(SAM_NANO)
    state = load_state(location)
    with torch.device("meta"):
        architecture = ARCHITECTURES[settings.model]()
    check_fit(architecture, state, f"weights {location!r} for model {settings.model!r}")
    return SamCard(name=settings.model, weights_hash=hash_state(state))
