"""Hostile inputs by the thousand: files that are read, and calls of the endpoint. `make fuzz` runs all of it."""
