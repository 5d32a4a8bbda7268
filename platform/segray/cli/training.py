"""Commands about students: train, evaluate, split."""

from __future__ import annotations

from typing import Annotated

import typer

from segray import job_configs
from segray.cli.common import Config, CrowdsOption, MaxDamaged, Overrides, app, interruptible
from segray.config.evaluate import EvaluateConfig
from segray.formats.coco import CocoSource
from segray.methods.config import TrainConfig
from segray.tally import MAX_DAMAGED


@app.command()
def train(
    config: Config,
    overrides: Overrides = None,
    fresh: Annotated[bool, typer.Option(help="Remove what this config's runs have left, and start over.")] = False,
    until: Annotated[str | None, typer.Option(help="Stop after this run of the method, such as teacher.")] = None,
) -> None:
    """Train a student. Rerun the command to resume."""
    loaded = job_configs.load_as(TrainConfig, config, overrides or ())
    with interruptible():
        from segray.cli import console
        from segray.jobs import progress
        from segray.jobs.train import train as run

        with progress.train_progress() as show:
            results = run(loaded, fresh=fresh, until=until, show=show)
    console.run_results(results)


@app.command()
def evaluate(config: Config, overrides: Overrides = None) -> None:
    """Measure a student, or the labels in a store, on images with known masks."""
    loaded = job_configs.load_as(EvaluateConfig, config, overrides or ())
    from segray.cli import console
    from segray.jobs import progress
    from segray.jobs.evaluate import evaluate as run
    from segray.jobs.evaluate import last_tally

    with progress.counting("evaluating") as show:
        result = run(loaded, show)
    console.evaluation(result)
    console.tallies({"data": last_tally(loaded)})
    typer.echo(f"figures: {loaded.out}")


@app.command()
def split(
    annotations: Annotated[str, typer.Argument(help="A COCO file.", show_default=False)],
    share: Annotated[
        list[float] | None, typer.Option(help="Share of labeled images; several times for several.")
    ] = None,
    holdout: Annotated[
        float | None, typer.Option(help="Instead: this share for validation, the rest to train.")
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="The folder of its images; by default `images` beside it, or its own folder.")
    ] = None,
    out: Annotated[str, typer.Option(help="The folder to write to.")] = "out/splits",
    seed: Annotated[int, typer.Option(help="The same seed gives the same splits, nested in each other.")] = 0,
    group_pattern: Annotated[str | None, typer.Option(help="Regular expression: equal matches stay together.")] = None,
    group_field: Annotated[
        str | None, typer.Option(help="Images with equal values of this entry stay together.")
    ] = None,
    near_bits: Annotated[int | None, typer.Option(help="Near-duplicates stay together; 6 is usual.")] = None,
    crowds: CrowdsOption = "leave_out",
    max_damaged: MaxDamaged = MAX_DAMAGED,
) -> None:
    """Split a COCO file into labeled and unlabeled images, or training and validation: seeded, stratified, by group."""
    if (share is None) == (holdout is None):
        raise typer.BadParameter("give --share (labeled and unlabeled) or --holdout (training and validation)")
    from segray.cli import console
    from segray.datasets.splits import Grouping, Splitter, write_holdout, write_shares
    from segray.formats.source import images_beside

    grouping = Grouping(pattern=group_pattern, field=group_field, near_bits=near_bits)
    source = CocoSource(uri=images or images_beside(annotations), annotations=annotations, crowds=crowds)
    splitter = Splitter(source, seed, grouping)
    splitter.tally.check(max_damaged, annotations)
    if holdout is not None:
        done = write_holdout(splitter, holdout, out)
        typer.echo(f"{out}: {len(done.first)} images to train, {len(done.second)} for validation")
    else:
        done_shares = write_shares(splitter, share or [], out)
        rows = [(f"{one.share:g}", str(len(one.first)), str(len(one.second))) for one in done_shares]
        console.table(("share", "labeled", "unlabeled"), rows)
    console.tallies({annotations: splitter.tally})
