"""Benchmarks: ratios taken side by side in one run, never absolute times to be believed on another machine."""
