"""What all subcommands share: the app, its arguments, its exit statuses."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from segray import job_configs

if TYPE_CHECKING:
    from segray.store import Store
    from segray.tally import Tally

FAILED, WRONG, REFUSED, BUDGET, INTERRUPTED = 1, 2, 3, 4, 130

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Config = Annotated[Path, typer.Argument(help="A TOML file.", show_default=False)]
Overrides = Annotated[list[str] | None, typer.Argument(help="key.path=value, values as in TOML.", show_default=False)]
StoreOrConfig = Annotated[
    str, typer.Argument(help="A store's folder, or the config of its label job.", show_default=False)
]
CrowdsOption = Annotated[
    Literal["leave_out", "masks"],
    typer.Option(help="What iscrowd 1 means in COCO files: a crowd, or a mask like any other, as CVAT writes it."),
]
MaxDamaged = Annotated[
    float, typer.Option(min=0, max=1, help="Share of damaged annotations beyond which nothing is written.")
]


@contextmanager
def interruptible() -> Iterator[None]:
    """On Ctrl-C, say how to resume and exit with 130; on SIGTERM, clean up and exit with 143."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("stopped: what is committed stays, the same command goes on with the rest", err=True)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def tally_lines(name: str, tally: Tally) -> list[str]:
    """Return what was read for something, as lines below its name; none where nothing was counted."""
    lines = tally.lines()
    return [f"{name}:", *(f"  {line}" for line in lines)] if lines else []


def wait_for_end() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    before = {one: signal.signal(one, lambda *_: stopped.set()) for one in (signal.SIGINT, signal.SIGTERM)}
    stopped.wait()
    for one, handler in before.items():
        signal.signal(one, handler)


def open_store(store_or_config: str) -> Store:
    """The store itself, or the one that a label config names."""
    from segray.store import Store

    if not store_or_config.endswith(".toml"):
        return Store.open(store_or_config)
    from segray.jobs.label import find_store

    return find_store(job_configs.load_label_job(Path(store_or_config)))
