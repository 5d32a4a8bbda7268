"""What `serve run serve.app:build config=FILE` and a RayService import."""

from segray.serving.deployment.app import build

__all__ = ["build"]
