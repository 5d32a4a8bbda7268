"""Stages: what a label job does to each image. Knows no Ray."""
