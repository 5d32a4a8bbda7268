"""The training loop and what it runs on. Knows steps, not methods."""
