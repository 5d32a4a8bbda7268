"""Which class is this region: votes of class maps over masks, CLIP, class activation. Knows no files, no Ray."""
