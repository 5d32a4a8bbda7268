"""Data sets: training rows, splits, image-level tags, corrections and class maps. Knows no models and no Ray."""
