"""The `segray` command. Each subcommand imports only what it needs: `check` runs where torch is not installed.

Exit status: 0 done, 1 failed, 2 wrong config or command, 3 too many images were refused or too much of the data is
damaged, 4 stopped by the budget, 130 stopped by ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import typer

from segray import job_configs
from segray.cli import configs, demo, doctor, labeling, runs, serving, stores, submitting, training
from segray.cli.common import FAILED, REFUSED, WRONG, Config, Overrides, app, tally_lines
from segray.config import base
from segray.errors import ConfigError, DamageError, SegrayError
from segray.tally import MAX_DAMAGED

app.info.help = __doc__

_STATUS: Final[Mapping[type[SegrayError], int]] = {ConfigError: WRONG, DamageError: REFUSED}


@app.command()
def check(
    config: Config,
    overrides: Overrides = None,
    data: Annotated[bool, typer.Option(help="Read also the data that it names, and say what is left out.")] = True,
) -> None:
    """Check a config: all mistakes at once, or what it comes to."""
    loaded = job_configs.load(config, overrides or ())
    if data:
        from segray.jobs import inputs

        if missing := inputs.input_problems(loaded):
            count = f"{len(missing)} problem{'s' * (len(missing) != 1)}"
            raise ConfigError(f"{config}: {count} with its data (--no-data leaves that out)", missing)
        _read(loaded)
    article = "an" if loaded.job[0] in "aeiou" else "a"
    typer.echo(f"{config}: {article} {loaded.job} job, {base.fingerprint(loaded)}")


def _read(loaded: job_configs.Job) -> None:
    """Print what of the data is used and left out, and refuse data of which too much is damaged."""
    from segray.jobs import inputs

    read = inputs.read_inputs(loaded)
    for path, tally in read.items():
        for line in tally_lines(path, tally):
            typer.echo(line)
    for path, tally in read.items():
        tally.check(getattr(loaded, "max_damaged", MAX_DAMAGED), path)


def main(arguments: Sequence[str] = ()) -> None:
    """Run a command; `arguments` go before those of the command line. Ends the process with the exit status."""
    try:
        app([*arguments, *sys.argv[1:]])
    except SegrayError as error:
        typer.echo(f"segray: {error}", err=True)
        sys.exit(_STATUS.get(type(error), FAILED))


__all__ = [
    "app",
    "configs",
    "demo",
    "doctor",
    "labeling",
    "main",
    "runs",
    "serving",
    "stores",
    "submitting",
    "training",
]
