"""From settings to a model of the segment-anything package, or to what names its results."""

import torch

from segray.assets import SAM_NANO
from segray.config.sam import OriginalSamConfig
from segray.nets.device import choose_device
from segray.nets.weights import check_fit, hash_location, load_into, load_state
from segray.sam.backends.segment_anything.model import ARCHITECTURES, OriginalSam
from segray.sam.protocol import SamCard


def build(settings: OriginalSamConfig) -> OriginalSam:
    """Load the model, frozen, on its device.

    Raises:
        BackendError: the weights are missing, unreadable or made for another architecture, or the device is missing.
    """
    device = choose_device(settings.device, settings.precision, compiled=settings.compile)
    location = settings.weights or str(SAM_NANO)
    state = load_state(location)
    model = ARCHITECTURES[settings.model]()
    load_into(model, state, f"weights {location!r} for model {settings.model!r}")
    return OriginalSam(
        model,
        name=settings.model,
        weights_hash=hash_location(location, state),
        device=device,
        dtype=settings.precision,
        compiled=settings.compile,
    )


def describe(settings: OriginalSamConfig) -> SamCard:
    """Check that the weights fit the architecture, without building it.

    Raises:
        BackendError: the weights are missing, unreadable or made for another architecture.
    """
    location = settings.weights or str(SAM_NANO)
    state = load_state(location)
    with torch.device("meta"):
        architecture = ARCHITECTURES[settings.model]()
    check_fit(architecture, state, f"weights {location!r} for model {settings.model!r}")
    return SamCard(name=settings.model, weights_hash=hash_location(location, state))
