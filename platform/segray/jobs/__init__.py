"""What the Ray Jobs in the top-level `jobs` folder run, and the command line with them."""
