import pytest
import torch

from segray.config.schedule import Schedule
from segray.training.precision import autocast


@pytest.mark.parametrize(
    ("precision", "on_cpu"),
    [("auto", torch.float32), ("bfloat16", torch.bfloat16), ("float32", torch.float32)],
)
def test_cpus_compute_in_what_the_schedule_says(precision, on_cpu):
    layer, given = torch.nn.Linear(4, 4), torch.zeros(1, 4)
    with autocast(Schedule(precision=precision), torch.device("cpu")):
        assert layer(given).dtype == on_cpu
    assert layer(given).dtype == torch.float32
