"""The demo: `segray demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segray.cli.common import app


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything it makes.")] = Path("out/demo"),
    images: Annotated[int, typer.Option(min=1, help="Scenes to draw and label.")] = 40,
) -> None:
    """Draw a small world, label it, write a report: the whole way on this machine, nothing downloaded."""
    from segray import console
    from segray.jobs.demo import demo as run

    with console.label_progress("labeling") as show:
        result = run(out, images, typer.echo, show)
    console.label_summary(result.summary)
    console.table(("", ""), [("recall of the true objects (AR@1000)", f"{result.recall:.3f}")])
    typer.echo(f"world:  {result.world}\nreport: {result.report}   open it in a browser")
