"""Configs as text for people: resolved ones and starters, both derived from the config classes."""
