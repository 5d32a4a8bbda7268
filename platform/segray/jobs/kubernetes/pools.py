"""Workers that a job asks a cluster for, and whether pods of some sizes have room for them. Knows no YAML."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from segray.config.label import StageJob
from segray.config.serve import ServeConfig
from segray.jobs.kubernetes.quantities import quantity
from segray.methods.config import TrainConfig

GIB = 2.0**30
OBJECT_STORE_SHARE = 0.3
"""Share of a pod's memory that Ray gives to its object store; the rest can be reserved."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a worker reserves, or what a pod has for Ray; memory in bytes."""

    cpus: float
    gpus: float = 0.0
    memory: float = 0.0

    def fits(self, other: "Resources") -> bool:
        """Return whether this lies within another."""
        return self.cpus <= other.cpus and self.gpus <= other.gpus and self.memory <= other.memory

    def less(self, other: "Resources") -> "Resources":
        """Return what is left after another is taken."""
        return Resources(cpus=self.cpus - other.cpus, gpus=self.gpus - other.gpus, memory=self.memory - other.memory)

    def __str__(self) -> str:
        memory = f", {self.memory / GIB:.3g} GiB" if self.memory else ""
        return f"{self.cpus:g} CPUs, {self.gpus:g} GPUs{memory}"


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A number of workers of one size."""

    called: str
    count: int
    size: Resources


@dataclass(frozen=True, kw_only=True)
class PodGroup:
    """Pods of one size, of which the cluster can have some number."""

    name: str
    size: Resources
    max_replicas: int

    @classmethod
    def of_spec(cls, spec: Mapping[str, Any]) -> "PodGroup":
        """Read a `workerGroupSpecs` entry. KubeRay tells Ray whole CPUs, rounded up."""
        limits = spec["template"]["spec"]["containers"][0]["resources"]["limits"]
        size = Resources(
            cpus=float(math.ceil(quantity(limits["cpu"]))),
            gpus=quantity(limits.get("nvidia.com/gpu", 0)),
            memory=(1 - OBJECT_STORE_SHARE) * quantity(limits["memory"]),
        )
        return cls(name=spec["groupName"], size=size, max_replicas=spec["maxReplicas"])

    def pods_for(self, pool: Pool) -> int | None:
        """Return how many pods hold a pool; None where a pod holds not even one worker."""
        left, per_pod = self.size, 0
        while per_pod < pool.count and pool.size.fits(left):
            left, per_pod = left.less(pool.size), per_pod + 1
        return math.ceil(pool.count / per_pod) if per_pod else None


def pools_of(job: object) -> list[Pool]:
    """Return the workers that a job asks the cluster for, at most."""
    match job:
        case StageJob() if not job.workers.in_process:
            workers = job.workers
            size = Resources(cpus=workers.cpus, gpus=workers.gpus, memory=(workers.memory_gib or 0.0) * GIB)
            return [Pool(called="workers", count=workers.most_workers, size=size)]
        case TrainConfig() if job.workers.num_workers:
            size = Resources(cpus=job.workers.cpus, gpus=job.workers.gpus)
            return [Pool(called="workers", count=job.workers.num_workers, size=size)]
        case ServeConfig():
            return [
                Pool(called=f"replicas of the {key}", count=each.max, size=Resources(cpus=each.cpus, gpus=each.gpus))
                for key, each in job.copies.items()
            ]
        case _:
            return []


def room_problems(pools: Sequence[Pool], groups: Sequence[PodGroup]) -> Iterator[str]:
    """Say which pools a cluster at its largest has no room for: the most demanding first, each pod filled in turn."""
    # Workers without GPUs take pods without one first, as Ray's scheduler does.
    free = sorted((group.size for group in groups for _ in range(group.max_replicas)), key=lambda size: size.gpus)
    for pool in sorted(pools, key=lambda each: (each.size.gpus, each.size.cpus), reverse=True):
        placed = sum(_take(free, pool.size) for _ in range(pool.count))
        if placed < pool.count:
            at_most = "; ".join(f"{group.name}: {group.max_replicas} pods of {group.size}" for group in groups)
            yield (
                f"{pool.count} {pool.called} of {pool.size}: the cluster at its largest has room for {placed}"
                f" ({at_most})"
            )


def following(groups: Sequence[PodGroup], pools: Sequence[Pool]) -> list[PodGroup]:
    """Return the groups with as many pods, at most, as hold the pools; groups that no pool fits keep their number.

    Pools with GPUs count for groups with GPUs, and the others for groups without, as long as there are such.
    """
    wanted = {group.name: 0 for group in groups}
    for pool in pools:
        fitting = [group for group in groups if group.pods_for(pool) is not None]
        plain = [group for group in fitting if not group.size.gpus]
        for group in fitting if pool.size.gpus or not plain else plain:
            wanted[group.name] += group.pods_for(pool) or 0
    return [replace(group, max_replicas=wanted[group.name] or group.max_replicas) for group in groups]


def _take(free: list[Resources], wanted: Resources) -> bool:
    """Take a worker's share of the first pod that has it; return whether there is one."""
    for index, size in enumerate(free):
        if wanted.fits(size):
            free[index] = size.less(wanted)
            return True
    return False
