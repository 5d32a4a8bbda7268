"""The HTML report of a label job or a store."""
