"""Automatic mask generation over any `Sam`."""
