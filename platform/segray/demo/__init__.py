"""Procedural worlds and the nano models that ship with the package."""

from typing import Final

DEMOS: Final = {
    "s4m": "instances from few labels",
    "unimatch": "label maps from few labels",
    "sepl": "label maps from image-level tags",
}
"""What `segray demo --method` shows, by the name of the function in `segray.demo.methods` that describes it."""
