"""SEPL: class maps from image-level tags, corrected by the masks of a SAM."""
