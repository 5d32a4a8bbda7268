"""Train a student, as a Ray Job: `python -m jobs.train CONFIG [key.path=value ...]`."""

from segray.cli import main

if __name__ == "__main__":
    main(["train"])
