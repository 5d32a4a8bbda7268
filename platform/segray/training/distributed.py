"""The data-parallel workers of a run as `WorkerGroup`, one of them this process. Knows torch.distributed, no Ray."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def _never() -> bool:
    return False


def _nothing(_: Mapping[str, float]) -> None:
    return None


def _unwatched(_kind: str, _done: int, _values: Mapping[str, float]) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class WorkerGroup:
    """This worker's place among all. The default is a worker alone."""

    device: torch.device
    """Where this worker computes."""
    rank: int = 0
    world: int = 1
    leaving: Callable[[], bool] = _never
    """Whether a machine is about to go; asked by all workers at the same steps, answered the same to all."""
    report: Callable[[Mapping[str, float]], None] = _nothing
    """Tells the cluster what an evaluation found; called by all workers at the same steps, and may take seconds: Ray
    Train fetches one report per look at its workers, every two seconds."""
    observe: Callable[[str, int, Mapping[str, float]], None] = _unwatched
    """Shows the cluster a line of metrics, kind and steps done first; called by the leading worker, and quick."""

    @property
    def leads(self) -> bool:
        """Whether this worker writes files."""
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over all workers, on each of them."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """Everyone's value, on each of them, by rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            dist.barrier()

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over the workers; alone, the module itself."""
        if self.world == 1:
            return module
        # No buffer changes in training (norms are frozen or per group), so none is sent around.
        return DistributedDataParallel(module, forward_sync_buffers=False)
