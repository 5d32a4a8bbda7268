"""The demo: `segray demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from segray.cli.common import app, wait_for_end
from segray.demo import DEMOS

if TYPE_CHECKING:
    DemoName: TypeAlias = str
else:
    DemoName = Literal[*DEMOS]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything it makes.")] = Path("out/demo"),
    method: Annotated[
        DemoName,
        typer.Option(help=f"{'; '.join(DEMOS.values()).capitalize()}."),
    ] = "s4m",
    quick: Annotated[bool, typer.Option(help="Smaller: a few minutes, figures to match.")] = False,
    keep_serving: Annotated[bool, typer.Option(help="Let the endpoint and its page stay until ctrl-C.")] = False,
) -> None:
    """Draw a small world, label it, train on it, serve the student: all on this machine, nothing downloaded."""
    from segray.cli import console
    from segray.demo.methods import FULL, METHODS, QUICK
    from segray.jobs import progress
    from segray.jobs.cluster import connected
    from segray.jobs.demo import draw_world, label_world, serve_world, train_world

    world = draw_world(out, QUICK if quick else FULL, typer.echo)
    with connected():
        with progress.label_progress("labeling") as show:
            labeled, trainings = label_world(world, METHODS[method], typer.echo, show)
        for one in labeled:
            typer.echo(f"\n{one.name}")
            console.label_summary(one.summary)
            console.evaluation(one.quality)
        with progress.train_progress() as show_training:
            trained = train_world(world, trainings, typer.echo, show_training, page=f"{method}-students")
    console.comparison(trained.results)
    if quick:
        typer.echo("so few steps show that it runs, not which is better: the demo without --quick takes more")
    console.folders({one.name: str(one.report) for one in labeled} | {"students": str(trained.report)})
    with serve_world(out, trained.student, typer.echo, clicks=keep_serving) as served:
        typer.echo(f"{served.picture}, asked at {served.address}/v1/segment; as a label map: {served.labels}")
        console.answer(served.instances)
        if keep_serving:
            typer.echo(f"page:     {served.address}/   ctrl-C ends it")
            wait_for_end()
