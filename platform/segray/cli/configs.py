"""Commands about configs: `segray config show`."""

from __future__ import annotations

import typer

from segray import job_configs
from segray.cli.common import Config, Overrides, app
from segray.config import base
from segray.config.text import toml

config_app = typer.Typer(no_args_is_help=True, help="Show configs.")
app.add_typer(config_app, name="config")


@config_app.command("show")
def config_show(config: Config, overrides: Overrides = None) -> None:
    """Print a config with every setting that it comes to, as TOML that loads again; defaults are marked."""
    loaded = job_configs.load(config, overrides or ())
    typer.echo(f"# {config}: job {loaded.job}, {base.fingerprint(loaded)}")
    typer.echo(toml.resolved(loaded), nl=False)
