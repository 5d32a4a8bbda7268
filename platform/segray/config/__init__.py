"""What a run is told: TOML onto frozen, typed dataclasses. Imports neither torch nor ray: a laptop can check a run."""
