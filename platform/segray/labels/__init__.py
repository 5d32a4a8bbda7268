"""Labeling: what a stage does to images, how Ray spreads it, what it cost, what it looks like."""
