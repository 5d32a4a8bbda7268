"""The `segray` command. Each subcommand imports only what it needs: `check` runs where torch is not installed.

Exit status: 0 done, 1 failed, 2 wrong config or command, 3 too many images were refused, 4 stopped by the budget.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segray.config import base, jobs
from segray.config.label import LabelConfig
from segray.errors import ConfigError, SegrayError

if TYPE_CHECKING:
    from segray.data.store import Store

FAILED, WRONG, REFUSED, BUDGET = 1, 2, 3, 4

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
store_app = typer.Typer(no_args_is_help=True, help="List, compact and remove stores.")
app.add_typer(store_app, name="store")

Config = Annotated[Path, typer.Argument(help="A TOML file.", show_default=False)]
Overrides = Annotated[list[str] | None, typer.Argument(help="key.path=value, values as in TOML.", show_default=False)]
StoreOrConfig = Annotated[
    str, typer.Argument(help="A store's folder, or the config of its label job.", show_default=False)
]


@app.command()
def check(config: Config, overrides: Overrides = None) -> None:
    """Check a config: all mistakes at once, or what it comes to."""
    loaded = jobs.load(config, overrides or ())
    typer.echo(f"{config}: a {loaded.job} job, {base.fingerprint(loaded)}")


@app.command()
def label(config: Config, overrides: Overrides = None) -> None:
    """Label the images that the store does not hold yet. The same command again goes on where it was stopped."""
    loaded = jobs.load_as(LabelConfig, config, overrides or ())
    from segray import console
    from segray.jobs.label import label as run

    with console.label_progress("labeling") as show:
        summary = run(loaded, show)
    console.label_summary(summary)
    share, bound = summary.store_refused_share, loaded.limits.max_refused
    if share > bound:
        typer.echo(
            f"{share:.1%} of the store's images are refused, above limits.max_refused {bound:.1%}: `segray report`"
            " shows which and why, retry_refused=true tries them again",
            err=True,
        )
        raise typer.Exit(REFUSED)
    if summary.outcome == "budget":
        typer.echo("stopped by cost.budget; raise it and run the same command to go on", err=True)
        raise typer.Exit(BUDGET)


@app.command()
def export(
    store: StoreOrConfig,
    out: Annotated[Path, typer.Option(help="The file or folder to write.", show_default=False)],
    form: Annotated[str, typer.Option("--format", help="coco, coco-polygons, cvat, yolo, voc, label-studio or png.")],
    corrections: Annotated[
        list[str] | None, typer.Option(help="COCO or Label Studio JSON that takes precedence.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace what is there.")] = False,
) -> None:
    """Write a store in another tool's format."""
    from segray import console
    from segray.jobs.outputs import export as run

    summary = run(open_store(store), form, out, corrections=corrections or (), overwrite=overwrite)
    console.export_summary(summary, out)


@app.command()
def report(
    store: StoreOrConfig,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("out/report.html"),
    corrections: Annotated[list[str] | None, typer.Option(help="As for export.")] = None,
    sample: Annotated[int, typer.Option(min=0, help="How many images to show.")] = 24,
) -> None:
    """Write one HTML file to look at: masks, refused images and why, distributions, cost."""
    from segray.jobs.outputs import report as run

    run(open_store(store), out, corrections=corrections or (), sample=sample)
    typer.echo(f"report: {out}")


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


@store_app.command("ls")
def store_ls(root: Annotated[str, typer.Argument(help="The folder that holds stores.")]) -> None:
    """List stores with their size and cost."""
    from segray import console
    from segray.data.store import catalog

    console.stores(catalog(root))


@store_app.command("compact")
def store_compact(store: StoreOrConfig) -> None:
    """Merge a store's small parts into large ones."""
    opened = open_store(store)
    before = opened.info().parts
    opened.compact()
    typer.echo(f"{opened.uri}: {before} parts before, {opened.info().parts} now")


@store_app.command("rm")
def store_rm(
    store: StoreOrConfig,
    image: Annotated[str | None, typer.Option(help="Remove only this image, all its versions.")] = None,
    everywhere: Annotated[bool, typer.Option(help="STORE is a folder of stores: remove the image from each.")] = False,
    yes: Annotated[bool, typer.Option(help="Do not ask.")] = False,
) -> None:
    """Remove a store, or one image from it or from all stores of a folder."""
    from segray.data.store import Store, catalog

    if everywhere and image is None:
        raise typer.BadParameter("--everywhere removes one image from all stores: name it with --image")
    what = f"image {image} from {store}" if image else f"the store {store}"
    if not yes and not typer.confirm(f"Remove {what}?"):
        raise typer.Exit(FAILED)
    if image is None:
        open_store(store).delete()
        return
    found = catalog(store) if everywhere else [open_store(store).info()]
    removed, failed = 0, [f"{info.uri}: {info.problem}" for info in found if info.problem]
    for uri in [info.uri for info in found if not info.problem]:
        try:
            removed += Store.open(uri).remove_image(image)
        except SegrayError as error:
            failed.append(str(error))
    typer.echo(f"removed {removed} rows")
    if failed or not removed:
        typer.echo("\n".join(failed) or f"no store holds an image called {image!r}", err=True)
        raise typer.Exit(FAILED)


def open_store(store_or_config: str) -> Store:
    """The store itself, or the one that a label config names."""
    from segray.data.store import Store

    if not store_or_config.endswith(".toml"):
        return Store.open(store_or_config)
    from segray.jobs.label import find_store

    return find_store(jobs.load_as(LabelConfig, Path(store_or_config)))


def main(arguments: Sequence[str] = ()) -> None:
    """Run a command; `arguments` go before those of the command line. Ends the process with the exit status."""
    try:
        app([*arguments, *sys.argv[1:]])
    except SegrayError as error:
        typer.echo(f"segray: {error}", err=True)
        sys.exit(WRONG if isinstance(error, ConfigError) else FAILED)


if __name__ == "__main__":
    main()
