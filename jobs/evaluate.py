"""Evaluate a student, as a Ray Job: `python -m jobs.evaluate CONFIG [key.path=value ...]`."""

from segray.cli import main

if __name__ == "__main__":
    main(["evaluate"])
