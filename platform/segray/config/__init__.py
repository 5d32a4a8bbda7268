"""What a run is told: TOML files onto frozen, typed dataclasses. Imports neither torch nor ray, so a laptop can check a run."""
