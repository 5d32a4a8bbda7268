"""Commands about serving: `segray serve`, `segray key`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from segray import job_configs
from segray.cli.common import Config, Overrides, app
from segray.config.serve import ServeConfig
from segray.jobs.ports import free_port


@app.command()
def serve(config: Config, overrides: Overrides = None) -> None:
    """Serve a student: the endpoint and its page, until ctrl-C or SIGTERM; what is under way then is answered."""
    loaded = job_configs.load_as(ServeConfig, config, overrides or ())
    if "RAY_ADDRESS" not in os.environ:
        # A cluster's ports are its machines'; ours is looked at before all that is slow to load.
        free_port(loaded.host, loaded.port)
    from segray.jobs.serve import serving, wait_for_end

    typer.echo("starting: Ray, then the models load and warm up")
    with serving(loaded) as address:
        page = f"page:     {address}/\n" if loaded.page else ""
        typer.echo(f"{page}endpoint: {address}/v1/segment   ctrl-C ends it")
        wait_for_end()
        typer.echo("stopping: what is under way is answered")


@app.command()
def key(name: Annotated[str, typer.Argument(help="Whom the key is for.", show_default=False)]) -> None:
    """Make an API key: the key itself, which is shown only now, and the line for the key file."""
    from segray.serving.http import keys

    made = keys.make(name)
    typer.echo(f"the key for {name}, shown only now:\n  {made.key}")
    typer.echo(f"the line for the key file:\n  {made.line}")
