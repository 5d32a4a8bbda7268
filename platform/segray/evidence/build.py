"""From a config to an `ImageTextEncoder`. Knows which kind of config is served by what; nothing of how they work."""

import torch

from segray.config.evidence import ClipModel, HfClipConfig, NanoClipConfig
from segray.errors import BackendError
from segray.evidence.clip import Clip
from segray.evidence.nano_clip import NanoImageTextEncoder
from segray.evidence.protocol import ImageTextEncoder


def build(config: ClipModel, *, gpu: bool) -> ImageTextEncoder:
    """Load the model, frozen; on CUDA where `gpu` says that some was reserved.

    Raises:
        BackendError: weights missing, damaged or of another architecture, or the device is not there.
    """
    if gpu and not torch.cuda.is_available():
        raise BackendError(
            "workers.gpus asks for a GPU, but torch finds no CUDA here; set workers.gpus=0 to use the CPU"
        )
    device = torch.device("cuda" if gpu else "cpu")
    match config:
        case HfClipConfig():
            return Clip(config, device)
        case NanoClipConfig():
            return NanoImageTextEncoder(config, device)
