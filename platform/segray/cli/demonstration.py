"""The demo: `segray demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segray.cli.common import app


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything it makes.")] = Path("out/demo"),
    quick: Annotated[bool, typer.Option(help="Smaller: a few minutes, figures to match.")] = False,
) -> None:
    """Draw a small world, label it, train on it: the whole way on this machine, nothing downloaded."""
    from segray import console
    from segray.jobs.demo import FULL, QUICK, label_world, train_world

    size = QUICK if quick else FULL
    with console.label_progress("labeling") as show:
        labeled = label_world(out, size.label_images, typer.echo, show)
    console.label_summary(labeled.summary)
    console.table(("", ""), [("recall of the true objects (AR@1000)", f"{labeled.recall:.3f}")])
    with console.train_progress() as show_training:
        trained = train_world(out, size, typer.echo, show_training)
    console.comparison(trained.results)
    typer.echo(
        f"world:    {labeled.world}\nmasks:    {labeled.report}\nstudents: {trained.report}   open them in a browser"
    )
