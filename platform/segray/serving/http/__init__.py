"""The HTTP application over a `Backend`: bodies, answers, errors and keys. Knows no torch and no Ray."""
