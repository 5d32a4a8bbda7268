"""Commands about serving: `segray serve`, `segray key`."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import Annotated

import typer

from segray import job_configs
from segray.cli.common import Config, Overrides, app, wait_for_end
from segray.config.serve import ServeConfig
from segray.jobs.endpoint.isolation import endpoint_port


@app.command()
def serve(
    config: Config,
    overrides: Overrides = None,
    ray: Annotated[
        bool, typer.Option(help="Serve copies on Ray Serve; without it one copy in this process answers.")
    ] = True,
) -> None:
    """Serve a student: the endpoint and its page, until ctrl-C or SIGTERM; in-flight requests are finished first."""
    loaded = job_configs.load_as(ServeConfig, config, overrides or ())
    if not ray or "RAY_ADDRESS" not in os.environ:
        # A cluster's ports are its machines'; ours is looked at before all that is slow to load.
        endpoint_port(loaded.host, loaded.port)
    with _endpoint(loaded, ray=ray) as address:
        page = f"page:     {address}/\n" if loaded.page else ""
        typer.echo(f"{page}endpoint: {address}/v1/segment   ctrl-C ends it")
        wait_for_end()
        typer.echo("stopping: in-flight requests are finished")


def _endpoint(config: ServeConfig, *, ray: bool) -> AbstractContextManager[str]:
    if ray:
        from segray.jobs.serve import serving

        typer.echo("starting: Ray, then the models load and warm up")
        return serving(config)
    from segray.serving.local import serving_locally

    typer.echo("starting: the models load and warm up; without Ray the config's numbers of copies are not used")
    return serving_locally(config)


@app.command()
def key(name: Annotated[str, typer.Argument(help="Whom the key is for.", show_default=False)]) -> None:
    """Make an API key: the key itself, which is shown only now, and the line for the key file."""
    from segray.serving.http import keys

    made = keys.make(name)
    typer.echo(f"the key for {name}, shown only now:\n  {made.key}")
    typer.echo(f"the line for the key file:\n  {made.line}")
