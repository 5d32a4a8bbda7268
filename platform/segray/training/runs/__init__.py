"""Runs on disk: their folders, metrics, lineage, tracking and progress."""
