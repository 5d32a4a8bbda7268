"""Commands about stores: `segray store ls|compact|rm`."""

from __future__ import annotations

from typing import Annotated

import typer

from segray.cli.common import FAILED, StoreOrConfig, app, open_store
from segray.errors import ConfigError, SegrayError

store_app = typer.Typer(no_args_is_help=True, help="List, compact and remove stores.")
app.add_typer(store_app, name="store")


@store_app.command("ls")
def store_ls(root: Annotated[str, typer.Argument(help="The folder that holds stores.")]) -> None:
    """List stores with their size and cost."""
    from segray.storage import files

    if not files.exists(root):
        raise ConfigError(f"{root}: there is no such folder; give the one that a config names as stores")
    from segray.cli import console
    from segray.store import catalog

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
    from segray.store import Store, catalog

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
