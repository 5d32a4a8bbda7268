"""segray: label images with Segment Anything, train a student on the labels, serve it; on one machine or a cluster."""

__version__ = "0.1.0"
