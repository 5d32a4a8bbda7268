"""What several networks share: the nano trunk, norms for small batches, reading weights. Knows torch, no task."""
