"""What `serve run serve.app:build config=FILE` and a RayService import."""

from segray.serving.app import build

__all__ = ["build"]
