"""Configs of jobs: TOML read into frozen, typed dataclasses. Imports neither torch nor Ray: a laptop can check one."""
