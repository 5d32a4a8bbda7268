"""Two workers with unlike pieces normalise, learn and remember as one worker with all images does."""

from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from segray.nets import norms

PIECES = (2, 3)
"""Images of each worker."""


def network():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3, bias=False), nn.BatchNorm2d(4)
    )
    for norm in (net[1], net[4]):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return net


def images():
    return 5 + torch.randn(sum(PIECES), 3, 12, 10, generator=torch.Generator().manual_seed(1))


def loss_of(found):
    """A sum over pixels whose gradient differs everywhere."""
    return (found * torch.linspace(-1, 1, found[0].numel()).view_as(found[0]) + found.square() * 0.1).sum()


def state(net, found, given):
    gradients = {name: one.grad for name, one in net.named_parameters()}
    return {"found": found.detach(), "given": given.grad, **gradients, **dict(net.named_buffers())}


def worker(rank, folder):
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    net = network()
    norms.synchronise(net)
    given = images().split(PIECES)[rank].clone().requires_grad_()
    # DDP averages over workers, so that each gives its part of the loss times their number.
    wrapped = DistributedDataParallel(net, forward_sync_buffers=False)
    found = wrapped(given)
    (2 * loss_of(found)).backward()
    given.grad /= 2
    torch.save(state(net, found, given), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    mp.spawn(worker, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def test_two_workers_are_as_one_worker_with_torchs_batch_norm(workers):
    net, given = network(), images().requires_grad_()
    found = net(given)
    loss_of(found).backward()
    alone = state(net, found, given)
    for name, value in alone.items():
        for rank, other in enumerate(one[name] for one in workers):
            own = value.split(PIECES)[rank] if name in ("found", "given") else value
            rounding = 5e-5 * float(own.abs().max())
            torch.testing.assert_close(other, own, rtol=0, atol=rounding, msg=lambda text, name=name: f"{name}: {text}")


def test_alone_it_is_torchs_batch_norm_in_training_and_evaluation():
    theirs, ours = network(), network()
    norms.synchronise(ours)
    for _ in range(2):
        torch.testing.assert_close(ours(images()), theirs(images()))
    torch.testing.assert_close(ours.eval()(images()), theirs.eval()(images()))
    assert norms.look_at_batch(ours)
    assert not norms.look_at_batch(theirs)
