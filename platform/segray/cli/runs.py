"""Commands about runs: `segray runs ls|show|compare|report|onnx|names|rollback`, `segray promote`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from segray.cli.common import app

runs_app = typer.Typer(no_args_is_help=True, help="List, show and compare runs; what names stand for.")
app.add_typer(runs_app, name="runs")

Runs = Annotated[str, typer.Argument(help="The folder that holds runs.", show_default=False)]
Run = Annotated[str, typer.Argument(help="A run's folder.", show_default=False)]
Network = Annotated[
    Literal["student", "teacher"] | None,
    typer.Option(help="The student, or the teacher kept beside it; by default the one that decided what is best."),
]


def _parts(run: str) -> tuple[str, str]:
    """A run's folder as the folder of runs and the run's name."""
    from segray.storage import files

    whole = files.absolute(run)
    return files.parent(whole), files.name(whole)


def _told(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


@runs_app.command("ls")
def runs_ls(runs: Runs) -> None:
    """List runs with what they reached."""
    from segray.cli import console
    from segray.training.runs.catalog import list_runs

    console.runs(list_runs(runs))


@runs_app.command("show")
def runs_show(run: Run) -> None:
    """Which data, weights and config made a student, and what came before it."""
    from segray.training.runs.catalog import ancestors, show_run

    folder, name = _parts(run)
    found = show_run(folder, name)
    for one in [found, *ancestors(folder, found)]:
        typer.echo(json.dumps({**one.record, "figures": one.figures}, indent=1))


@runs_app.command("compare")
def runs_compare(
    first: Run,
    second: Run,
    out: Annotated[Path | None, typer.Option(help="An HTML page with both, to look at.")] = None,
) -> None:
    """Where two runs differ, in what they were given and in what they reached."""
    from segray.cli import console
    from segray.errors import ConfigError
    from segray.training.reports.comparison import compare_report
    from segray.training.runs.catalog import compare_runs

    (folder, one), (other_folder, other) = _parts(first), _parts(second)
    if folder != other_folder:
        raise ConfigError(f"{first} and {second} are not in one folder of runs")
    found = compare_runs(folder, one, other)
    rows = [(each.path, _told(each.first), _told(each.second)) for each in (*found.content, *found.figures)]
    console.folders({"first": f"{folder}/{one}", "second": f"{folder}/{other}"})
    console.table(("", "first", "second"), rows)
    if out is not None:
        compare_report({one: found.first, other: found.second}, out)
        typer.echo(f"page: {out}")


@runs_app.command("report")
def runs_report(
    run: Run, out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("out/run.html")
) -> None:
    """Write one HTML file to look at: curves, AP, how often components acted, images."""
    from segray.training.reports.report import write_report
    from segray.training.runs.catalog import show_run

    write_report(show_run(*_parts(run)), out)
    typer.echo(f"report: {out}")


@runs_app.command("onnx")
def runs_onnx(
    run: Run,
    out: Annotated[Path, typer.Option(help="The ONNX file to write.")] = Path("out/student.onnx"),
    which: Annotated[Literal["best", "last"], typer.Option(help="Which of the run's students.")] = "best",
    network: Network = None,
    canvas: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Rows and columns of its input; a square of student.predict.side if none, or of 512."),
    ] = None,
) -> None:
    """Write a student as ONNX: a fixed canvas, any number of images; checked against the student before it is kept."""
    from segray.models.build import load_student
    from segray.models.onnx import export_onnx
    from segray.models.package import require_teacher
    from segray.training.runs.catalog import show_run

    found = show_run(*_parts(run))
    folder = found.folder.student(which)
    student = load_student(require_teacher(folder) if (network or found.network) == "teacher" else folder)
    multiple = student.settings.multiple
    side = multiple * -(-(student.settings.predict.side or 512) // multiple)
    apart = export_onnx(student, str(out), canvas or (side, side))
    typer.echo(f"{out}: outputs differ by {apart:.1e} on average")


@runs_app.command("names")
def runs_names(runs: Runs) -> None:
    """What promoted names stand for."""
    from segray.cli import console
    from segray.models.promotion import promotions

    rows = [(one.name, one.run, one.which, one.network, one.time) for one in promotions(runs)]
    console.table(("name", "run", "student", "network", "since"), rows)


@runs_app.command("rollback")
def runs_rollback(
    runs: Runs, name: Annotated[str, typer.Argument(help="A promoted name.", show_default=False)]
) -> None:
    """Let a name stand for what it stood for before."""
    from segray.training.runs.catalog import rollback

    now = rollback(runs, name)
    typer.echo(f"{name}: {now.student}")


@app.command()
def promote(
    run: Run,
    name: Annotated[str, typer.Argument(help="What serving knows the student by.", show_default=False)],
    which: Annotated[Literal["best", "last"], typer.Option(help="Which of the run's students.")] = "best",
    network: Network = None,
    force: Annotated[bool, typer.Option(help="Even where the run is not finished.")] = False,
) -> None:
    """Give a student a name to load it by; `segray runs rollback` takes it back."""
    from segray.training.runs.catalog import promote as give

    now = give(*_parts(run), name, which, network=network, force=force)
    typer.echo(f"{name}: {now.student}")
