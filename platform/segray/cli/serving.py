"""Commands about serving: `segray key`."""

from __future__ import annotations

from typing import Annotated

import typer

from segray.cli.common import app


@app.command()
def key(name: Annotated[str, typer.Argument(help="Whom the key is for.", show_default=False)]) -> None:
    """Make an API key: the key itself, which is shown only now, and the line for the key file."""
    from segray.serving import keys

    made = keys.make(name)
    typer.echo(f"the key for {name}, shown only now:\n  {made.key}")
    typer.echo(f"the line for the key file:\n  {made.line}")
