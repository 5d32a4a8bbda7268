"""From settings to a SAM of transformers, or to what names its results."""

from segray.config.sam import HfSamConfig
from segray.nets.device import choose_device
from segray.sam.backends.transformers.checkpoint import load_checkpoint, open_checkpoint
from segray.sam.backends.transformers.model import HfSam
from segray.sam.protocol import SamCard


def build(settings: HfSamConfig) -> HfSam:
    """Load a model of transformers from a folder or the Hub, frozen, on its device.

    Raises:
        BackendError: see `open_checkpoint` and `load_checkpoint`; or the device is missing.
    """
    device = choose_device(settings.device, settings.precision, compiled=settings.compile)
    checkpoint = open_checkpoint(settings)
    model, processor = load_checkpoint(checkpoint)
    model.to(device)
    if settings.compile:
        model.vision_encoder.compile()
        model.mask_decoder.transformer.compile()
    return HfSam(
        checkpoint.family(model),
        processor,
        name=checkpoint.name,
        weights_hash=checkpoint.weights_hash,
        device=device,
        dtype=settings.precision,
    )


def describe(settings: HfSamConfig) -> SamCard:
    """Download the model unless it is in the cache, and check that its weights fit.

    Raises:
        BackendError: see `open_checkpoint` and `load_checkpoint`.
    """
    checkpoint = open_checkpoint(settings)
    load_checkpoint(checkpoint)
    return SamCard(name=checkpoint.name, weights_hash=checkpoint.weights_hash)
