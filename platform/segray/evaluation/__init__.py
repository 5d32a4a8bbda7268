"""How good masks are, against the truth. Knows numpy and pycocotools, no models."""
