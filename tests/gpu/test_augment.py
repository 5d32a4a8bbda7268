import pytest
import torch

from segray import keyed_random
from segray.config.views import StrongView
from segray.losses.criterion import Targets
from segray.methods.s4m.config import Arp
from segray.methods.s4m.instance_pasting import paste_instances
from segray.training.augmentation.colour import strong_view

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]

KEYS = [keyed_random.key("test", index) for index in range(8)]


def images():
    coarse = torch.rand((8, 3, 6, 8), generator=torch.Generator().manual_seed(0)) * 255
    return torch.nn.functional.interpolate(coarse, (96, 128), mode="bicubic").clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_mixing_is_the_same_as_on_the_cpu(mode):
    masks = torch.zeros((8, 3, 96, 128), dtype=torch.bool)
    for index, mask in enumerate(masks.flatten(0, 1)):
        mask[index % 40 : index % 40 + 30, 2 * index : 2 * index + 45] = True
    targets = [Targets(classes=torch.arange(3), masks=one) for one in masks]
    settings = Arp(mode=mode, min_area=0.01)
    expected, labels, pasted = paste_instances(images(), targets, settings, KEYS)
    found, found_labels, found_pasted = paste_instances(
        images().cuda(), [one.to("cuda") for one in targets], settings, KEYS
    )
    assert found_pasted == pasted
    assert sum(pasted) > 0
    assert (found.cpu().int() - expected.int()).abs().max() <= 1
    for one, other in zip(found_labels, labels, strict=True):
        assert torch.equal(one.masks.cpu(), other.masks)
        assert torch.equal(one.classes.cpu(), other.classes)


def test_strong_views_are_the_same_as_on_the_cpu():
    difference = (
        strong_view(images().cuda(), StrongView(), KEYS).cpu().int() - strong_view(images(), StrongView(), KEYS).int()
    )
    assert difference.abs().max() <= 4
    assert difference.abs().float().mean() < 0.2
