"""Serving a student: an HTTP application over a backend, and the Ray Serve application that is one."""
