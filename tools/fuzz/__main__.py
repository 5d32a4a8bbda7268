"""`python -m tools.fuzz`: ten thousand hostile inputs, each kind in a process of its own.

Prints a line for each kind. Ends with 1 where there was a fault: an exception, counts that do not add up, a hang, an
answer of the endpoint that its document does not tell of, or a process that ended. A fault's input lies below `out`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import typer

SHARES: Final = {"images": 0.25, "coco": 0.25, "label-studio": 0.15, "yolo": 0.1, "endpoint": 0.25}
"""Share of each kind in all inputs."""


def fuzz(number: int = 10_000, seed: int = 0, out: Path = Path("out/fuzz")) -> None:
    """Read mutated files and call the endpoint, and tell what became of each input.

    Args:
        number: inputs in all.
        seed: of all changes.
        out: folder for the inputs of faults.
    """
    faulty = False
    for kind, share in SHARES.items():
        module = ["tools.fuzz.endpoint"] if kind == "endpoint" else ["tools.fuzz.readers", kind]
        folder = [] if kind == "endpoint" else ["--folder", str(out / kind)]
        command = [sys.executable, "-m", *module, "--number", str(round(number * share)), "--seed", str(seed), *folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            told = f"the process ended with {done.returncode} at {out / kind / 'at'}: {done.stderr[-2000:]}"
            faults: list[str] = [told]
            outcomes = {}
        else:
            found = json.loads(done.stdout.splitlines()[-1])
            outcomes, faults = found["outcomes"], found["faults"]
        counted = ", ".join(f"{number} {name}" for name, number in sorted(outcomes.items()))
        typer.echo(f"{kind}: {sum(outcomes.values())} inputs, seed {seed}: {counted}")
        for fault in faults:
            typer.echo(f"  FAULT {fault}")
        faulty = faulty or bool(faults)
    raise typer.Exit(int(faulty))


if __name__ == "__main__":
    typer.run(fuzz)
