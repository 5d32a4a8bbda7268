"""Masks at rest: run lengths, instances, geometry. Knows numpy and pycocotools, no images, no models."""
