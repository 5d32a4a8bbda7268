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
    keep_serving: Annotated[bool, typer.Option(help="Let the endpoint and its page stay until ctrl-C.")] = False,
) -> None:
    """Draw a small world, label it, train on it, serve the student: all on this machine, nothing downloaded."""
    from segray import console
    from segray.jobs.demo import FULL, QUICK, label_world, serve_world, train_world
    from segray.jobs.serve import wait_for_end

    size = QUICK if quick else FULL
    with console.label_progress("labeling") as show:
        labeled = label_world(out, size.label_images, typer.echo, show)
    console.label_summary(labeled.summary)
    console.table(("", ""), [("recall of the true objects (AR@1000)", f"{labeled.recall:.3f}")])
    with console.train_progress() as show_training:
        trained = train_world(out, size, typer.echo, show_training)
    console.comparison(trained.results)
    if quick:
        typer.echo(f"{size.steps} steps show that it runs, not which is better: the demo without --quick takes more")
    typer.echo(
        f"world:    {labeled.world}\nmasks:    {labeled.report}\nstudents: {trained.report}   open them in a browser"
    )
    with serve_world(out, trained, typer.echo, clicks=keep_serving) as served:
        typer.echo(f"{served.picture}, asked at {served.address}/v1/segment:")
        rows = [(one["class"], f"{one['score']:.2f}", f"{one['area']} px") for one in served.instances]
        console.table(("object", "score", "area"), rows)
        if keep_serving:
            typer.echo(f"page:     {served.address}/   ctrl-C ends it")
            wait_for_end()
