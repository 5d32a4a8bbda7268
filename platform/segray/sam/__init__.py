"""Segment Anything: the protocol, backends, automatic mask generation. Knows torch, no Ray, no files but weights."""
