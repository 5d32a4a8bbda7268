"""The segment-anything package, and sam-nano, behind the `Sam` protocol."""
