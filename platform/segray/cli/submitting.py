"""Commands about jobs on other machines: submit."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segray.cli.common import INTERRUPTED, Config, Overrides, app

if TYPE_CHECKING:
    from segray.jobs.submission import Submission


class Kind(StrEnum):
    """What can be submitted."""

    label = "label"
    train = "train"
    evaluate = "evaluate"


class Machines(StrEnum):
    """Which of the project's RayJobs."""

    gpu = "gpu"
    cpu = "cpu"


class MachineCapacity(StrEnum):
    """On which terms GPU machines are had."""

    both = "both"
    spot = "spot"
    on_demand = "on-demand"


@app.command()
def submit(
    kind: Annotated[Kind, typer.Argument(help="Which job.", show_default=False)],
    config: Config,
    overrides: Overrides = None,
    address: Annotated[
        str | None,
        typer.Option(help="The cluster's dashboard, such as http://HOST:8265.", envvar="RAY_API_SERVER_ADDRESS"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Instead of one made from the config.")] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE, or NAME as it is here, for all of the job's processes; who sees the job sees it."
        ),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Follow it, and end with its exit status; else print its id.")] = True,
    image_code: Annotated[bool, typer.Option(help="The cluster's image has the code: send only the config.")] = False,
    k8s: Annotated[bool, typer.Option("--k8s", help="Print a RayJob for `kubectl apply -f -` instead.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="With --k8s: write it to this file.")] = None,
    machines: Annotated[Machines, typer.Option(help="With --k8s: what the RayJob asks for.")] = Machines.gpu,
    image: Annotated[str | None, typer.Option(help="With --k8s: the image of all its containers.")] = None,
    namespace: Annotated[
        str | None, typer.Option(help="With --k8s: where it goes, beside accounts and secrets.")
    ] = None,
    max_replicas: Annotated[
        list[str] | None,
        typer.Option(
            help="With --k8s: GROUP=N, most pods of a worker group, several times; else as the config's workers need."
        ),
    ] = None,
    head_cpus: Annotated[float | None, typer.Option(help="With --k8s: CPUs of the head.")] = None,
    head_memory_gib: Annotated[float | None, typer.Option(help="With --k8s: memory of the head.")] = None,
    deadline_hours: Annotated[float | None, typer.Option(help="With --k8s: hours until the job is ended.")] = None,
    capacity: Annotated[
        MachineCapacity, typer.Option(help="With --k8s: spot or on-demand GPU machines, or spot before on-demand.")
    ] = MachineCapacity.both,
    gpu_type: Annotated[
        str | None, typer.Option(help="With --k8s: nvidia.com/gpu.product of the nodes, as NVIDIA-H100-80GB-HBM3.")
    ] = None,
    node_selector: Annotated[
        list[str] | None, typer.Option(help="With --k8s: LABEL=VALUE of the workers' nodes; several times.")
    ] = None,
    forecast: Annotated[
        str | None,
        typer.Option(help="With --k8s: a sampled run's summary, STORE/runs/X.json; deadline and head are checked."),
    ] = None,
) -> None:
    """Run a job on a cluster. The same command again follows it while it runs, and goes on with its work after."""
    from segray.jobs.submission import Submission

    if k8s == bool(address):
        raise typer.BadParameter("give --address to run it on a Ray cluster, or --k8s for a RayJob")
    submission = Submission.load(kind.value, config, overrides or (), name, env or ())
    if local := submission.local_paths():
        typer.echo(
            "warning: these paths mean the cluster's machines, not this one: give URIs that all of them reach"
            " (s3://...), unless they are folders that all of them mount\n  " + "\n  ".join(local),
            err=True,
        )
    if address:
        _on_ray(submission, address, wait=wait, with_code=not image_code)
        return
    from segray.jobs.kubernetes.plan import WorkForecast
    from segray.jobs.kubernetes.rayjob import ClusterOptions, render

    options = ClusterOptions(
        image=image,
        namespace=namespace,
        max_replicas=dict(_group(one) for one in max_replicas or ()),
        head_cpus=head_cpus,
        head_memory_gib=head_memory_gib,
        deadline_hours=deadline_hours,
        capacity=capacity.value,
        gpu_type=gpu_type,
        node_selector=dict(_label(one) for one in node_selector or ()),
        forecast=WorkForecast.read(forecast) if forecast else None,
    )
    text = render(submission, cluster=machines.value, options=options)
    if out:
        out.write_text(text, encoding="utf-8")
    else:
        typer.echo(text, nl=False)


def _on_ray(submission: Submission, address: str, *, wait: bool, with_code: bool) -> None:
    from segray.jobs.submit import JobsApi

    api = JobsApi(address)
    job, new = api.submit(submission, with_code=with_code)
    typer.echo(f"{job}: {'submitted' if new else 'is under way already'}", err=True)
    if not wait:
        typer.echo(job)
        return
    try:
        status = api.follow(job, _say)
    except KeyboardInterrupt:
        typer.echo(f"\n{job} goes on. To follow it: the same command again. To stop it: {api.stopping(job)}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(status)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _group(given: str) -> tuple[str, int]:
    name, _, number = given.partition("=")
    if not name or not number.isdecimal():
        raise typer.BadParameter(f"--max-replicas {given!r}: give GROUP=N, such as gpu-spot=4")
    return name, int(number)


def _label(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"--node-selector {given!r}: give LABEL=VALUE, such as pool=segmentation")
    return name, value
