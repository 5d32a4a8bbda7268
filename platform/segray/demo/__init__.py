"""Procedural worlds and the nano models that ship with the package."""
