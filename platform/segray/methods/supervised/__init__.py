"""Supervised training on labels alone: the baseline of every table."""
