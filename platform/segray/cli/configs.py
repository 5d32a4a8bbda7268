"""Commands about configs: `segray init`, `segray config show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from segray import job_configs
from segray.cli import starters
from segray.cli.common import Config, Overrides, app
from segray.config import base
from segray.config.text import toml
from segray.methods import METHODS

if TYPE_CHECKING:
    JobName: TypeAlias = str
    MethodName: TypeAlias = str
else:
    JobName = Literal[*job_configs.JOBS]
    MethodName = Literal[*METHODS]

config_app = typer.Typer(no_args_is_help=True, help="Show configs.")
app.add_typer(config_app, name="config")


@app.command()
def init(
    job: Annotated[JobName, typer.Argument(help="The job to configure.", show_default=False)],
    method: Annotated[
        MethodName | None, typer.Option(help=f"The method of a train job; without it {starters.FIRST_METHOD}.")
    ] = None,
) -> None:
    """Print a starter config in which every common key stands with a comment: `segray init label > my.toml`."""
    if method and job != "train":
        raise typer.BadParameter(f"--method belongs to the job train, not to {job}: leave it out")
    typer.echo(starters.starter_config(job, method), nl=False)


@config_app.command("show")
def config_show(config: Config, overrides: Overrides = None) -> None:
    """Print a config with every setting that it comes to, as TOML that loads again; defaults are marked."""
    loaded = job_configs.load(config, overrides or ())
    typer.echo(f"# {config}: job {loaded.job}, {base.fingerprint(loaded)}")
    typer.echo(toml.resolved(loaded), nl=False)
