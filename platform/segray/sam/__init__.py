"""Segment Anything: the protocol, its backends, automatic mask generation. Knows torch, no Ray, no files but weights."""
