"""S4M: semi-supervised instance segmentation with SAM (arXiv 2504.05301), and GuidedDistillation (arXiv 2308.02668)."""
