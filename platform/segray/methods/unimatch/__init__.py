"""UniMatch V1 and V2, FixMatch, and zero-shot labels from SAM and CLIP."""
