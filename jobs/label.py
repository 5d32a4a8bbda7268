"""Label images, as a Ray Job: `python -m jobs.label CONFIG [key.path=value ...]`."""

from segray.cli import main

if __name__ == "__main__":
    main(["label"])
