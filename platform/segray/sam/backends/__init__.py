"""Backends: packages of Segment Anything models behind the `Sam` protocol."""
