"""From settings to a `Sam`, or to what names its results before any is built.

Every backend is a folder of `segray.sam.backends`; its settings name the module there that has `build` and `describe`.
Knows nothing of any one backend.
"""

import dataclasses
from importlib import import_module

import torch

from segray.config.model_kinds import SamConfig
from segray.config.types import Device
from segray.sam.protocol import Sam, SamCard


def build(settings: SamConfig) -> Sam:
    """Load the model, frozen, on its device.

    Raises:
        BackendError: the weights are missing, damaged or made for another architecture, or the device is missing.
    """
    model: Sam = import_module(settings.backend).build(settings)
    return model


def build_beside(settings: SamConfig, device: torch.device) -> Sam:
    """Load the model, on the device of what runs beside it if its own is `auto`.

    Raises:
        BackendError: see `build`.
    """
    chosen: Device = "cuda" if device.type == "cuda" else "cpu"
    return build(dataclasses.replace(settings, device=chosen) if settings.device == "auto" else settings)


def describe(settings: SamConfig) -> SamCard:
    """Check, on the CPU and without the model's device, that the weights are there and fit; name them.

    A job calls this before it takes any machine. A Hub model is downloaded by it.

    Raises:
        BackendError: the weights are missing, damaged or made for another architecture.
    """
    card: SamCard = import_module(settings.backend).describe(settings)
    return card
