"""Commands about labels: label, export, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segray import job_configs
from segray.cli.common import (
    BUDGET,
    REFUSED,
    Config,
    CrowdsOption,
    MaxDamaged,
    Overrides,
    StoreOrConfig,
    app,
    interruptible,
    open_store,
)
from segray.tally import MAX_DAMAGED

FEW = 5
"""Refused images that are named at the end of a job; its report names more."""


@app.command()
def label(config: Config, overrides: Overrides = None) -> None:
    """Label the images that the store does not hold yet. Rerun the command to resume."""
    loaded = job_configs.load_label_job(config, overrides or ())
    from segray.jobs import inputs

    inputs.require_inputs(loaded)
    with interruptible():
        from segray.cli import console
        from segray.jobs import progress
        from segray.jobs.label import label as run

        with progress.label_progress("labeling") as show:
            summary = run(loaded, show)
    console.label_summary(summary)
    share, bound = summary.store_refused_share, loaded.max_damaged
    if share:
        _name_refused(summary.store)
    if share > bound:
        typer.echo(
            f"{share:.1%} of the store's images are refused, above max_damaged {bound:.1%}: `segray report`"
            " shows which and why, retry_refused=true tries them again",
            err=True,
        )
        raise typer.Exit(REFUSED)
    if summary.outcome == "budget":
        typer.echo("stopped by cost.budget; raise it and run the same command to go on", err=True)
        raise typer.Exit(BUDGET)


def _name_refused(store: str) -> None:
    from segray.jobs.outputs import refused

    for line in refused(open_store(store), FEW):
        typer.echo(f"  {line}", err=True)


def _formats() -> str:
    from segray.formats.registry import WRITERS

    return "; ".join(f"{writer.name}: {writer.about}" for writer in WRITERS.values()) + "."


@app.command()
def export(
    store: StoreOrConfig,
    out: Annotated[Path, typer.Option(help="The file or folder to write.", show_default=False)],
    form: Annotated[str, typer.Option("--format", help=_formats())],
    corrections: Annotated[
        list[str] | None, typer.Option(help="COCO or Label Studio JSON that takes precedence.")
    ] = None,
    crowds: CrowdsOption = "masks",
    max_damaged: MaxDamaged = MAX_DAMAGED,
    overwrite: Annotated[bool, typer.Option(help="Replace what is there.")] = False,
) -> None:
    """Write a store in another tool's format."""
    from segray.cli import console
    from segray.jobs.outputs import export as run

    summary = run(
        open_store(store),
        form,
        out,
        corrections=corrections or (),
        crowds=crowds,
        max_damaged=max_damaged,
        overwrite=overwrite,
    )
    console.export_summary(summary, out)


@app.command()
def report(
    store: StoreOrConfig,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("out/report.html"),
    corrections: Annotated[list[str] | None, typer.Option(help="As for export.")] = None,
    crowds: CrowdsOption = "masks",
    sample: Annotated[int, typer.Option(min=0, help="How many images to show.")] = 24,
) -> None:
    """Write one HTML file to look at: masks, refused images and why, distributions, cost."""
    from segray.jobs.outputs import report as run

    run(open_store(store), out, corrections=corrections or (), crowds=crowds, sample=sample)
    typer.echo(f"report: {out}")
