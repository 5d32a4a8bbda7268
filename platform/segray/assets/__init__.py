"""Weights and prompts that ship with segray, by name. Knows where the files are, nothing of the models that read them.

Weights are fp16 safetensors, used as fp32, trained on the procedural worlds (family A) by the scripts in tools/nano.
"""

from importlib.resources import files
from pathlib import Path
from typing import Final

_WEIGHTS: Final = Path(str(files(__name__))) / "weights"

SAM_NANO: Final = _WEIGHTS / "sam-nano.safetensors"
"""The nano SAM; its trunk's tensors are called `image_encoder.*`."""
TRUNK_NANO: Final = _WEIGHTS / "trunk-nano.safetensors"
"""The convolutional trunk that nano students and classifiers start from."""
CLIP_NANO: Final = _WEIGHTS / "clip-nano.safetensors"
"""The tiny-vocabulary CLIP, with its words."""
MASK2FORMER_NANO: Final = _WEIGHTS / "mask2former-nano"
"""Folder of the student that `start = "nano"` means."""
CLIP_TEMPLATES: Final = Path(str(files(__name__))) / "clip-templates.txt"
"""The 80 prompts by which CLIP's authors classify ImageNet (Radford et al. 2021, arXiv 2103.00020, and their code)."""
