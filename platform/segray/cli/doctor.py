"""What this machine has: `segray doctor`."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from segray.cli.common import FAILED, app

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segray.diagnostics import Finding


@app.command()
def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask whether the hub can be reached.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what this machine has, and what is missing for what. Exit status 1 where segray itself lacks something."""
    from segray.diagnostics import diagnose

    findings = diagnose(offline=offline)
    is_ready = all(one.status != "missing" for one in findings)
    if as_json:
        typer.echo(json.dumps({"ready": is_ready, "findings": [dataclasses.asdict(one) for one in findings]}, indent=2))
    else:
        _print(findings)
    if not is_ready:
        raise typer.Exit(FAILED)


def _print(findings: Sequence[Finding]) -> None:
    names, statuses = (max(len(getattr(one, key)) for one in findings) for key in ("name", "status"))
    indent = " " * (names + statuses + 4)
    for one in findings:
        shown = "" if one.status == "ok" else one.status
        typer.echo(f"{shown:<{statuses}}  {one.name:<{names}}  {one.value}")
        for line in textwrap.wrap(one.note, 80, break_on_hyphens=False):
            typer.echo(f"{indent}{line}")
