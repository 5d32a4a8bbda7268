"""All benchmarks, one after the other, each in a process of its own: `python -m bench [--quick]`."""

import subprocess
import sys

BENCHMARKS = (
    "bench.generator",
    "bench.labeling",
    "bench.store",
    "bench.requests",
    "bench.refinement",
    "bench.training",
    "bench.voting",
    "bench.serving",
)


def main() -> None:
    """Run them; the first that fails ends it."""
    for name in BENCHMARKS:
        print(f"== {name}", flush=True)
        quick = ["--quick"] if "--quick" in sys.argv else []
        subprocess.run([sys.executable, "-m", name, *quick], check=True)


if __name__ == "__main__":
    main()
