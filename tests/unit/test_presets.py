"""The presets: built at full size on the meta device, and trained for two steps on made-up data."""

import math

import pytest
import torch

from segray.config.schedule import SgdSchedule
from segray.job_configs import load_as
from segray.methods.config import TrainConfig
from segray.training.ema import burn_in_steps, decay
from tests import presets as tool

SEMANTIC = {tool.preset_id(path): path for path in tool.presets("fpn", "deeplab", "dpt", "segformer")}
INSTANCE = {tool.preset_id(path): path for path in tool.presets("mask2former")}
ENCODERS = {"resnet101s": 42.62, "xception65": 37.87, "base": 86.58}
"""Parameters in millions: ResNet-101 with a deep stem as published, timm's Xception-65 and DINOv2-Base."""
DECODERS = {"deeplab": 16.84, "dpt": 10.65}
"""Parameters in millions of what follows the encoder, without the last layer."""
CLASSES = {"coco": 81, "cityscapes": 19, "store": 21}
"""Number of classes of sources that do not name them."""
OBJECT_CLASSES = {"coco": 80, "cityscapes": 8}
"""The same of objects."""
PUBLISHED = {
    "s4m/cityscapes": {
        "teacher": {"steps": 90_000, "labeled_batch": 4},
        "student": {"steps": 90_000, "labeled_batch": 16, "unlabeled_batch": 16},
        "burn_in": 15_000,
        "soft_area": 5.0,
        "arp": ("static", 3000, 4),
    },
    "s4m/coco": {
        "teacher": {"steps": 368_750, "labeled_batch": 16},
        "student": {"steps": 368_750, "labeled_batch": 12, "unlabeled_batch": 12},
        "burn_in": 25_000,
        "soft_area": 5.0,
        "arp": ("dynamic", 3000, 3),
    },
    "guided-distillation/cityscapes": {
        "teacher": {"steps": 90_000, "labeled_batch": 16},
        "student": {"steps": 90_000, "labeled_batch": 16, "unlabeled_batch": 16},
        "burn_in": 50_000,
        "soft_area": 5.0,
        "arp": None,
    },
    "guided-distillation/coco": {
        "teacher": {"steps": 368_750, "labeled_batch": 16},
        "student": {"steps": 368_750, "labeled_batch": 16, "unlabeled_batch": 16},
        "burn_in": 50_000,
        "soft_area": 5.0,
        "arp": None,
    },
}
"""Constants of methods with a teacher, in the units of their code: steps, stride-4 cells, pixels."""


def weights_of(module):
    """Number of weights, those of frozen norms among them."""
    state = module.state_dict().items()
    return sum(one.numel() for name, one in state if not name.endswith(("_mean", "_var", "_tracked")))


@pytest.fixture(params=SEMANTIC)
def semantic(request):
    return SEMANTIC[request.param]


@pytest.fixture(params=INSTANCE)
def instance(request):
    return INSTANCE[request.param]


def test_a_semantic_preset_builds_at_full_size(semantic):
    config = load_as(TrainConfig, semantic)
    labeled = config.data.labeled
    settings, classes = config.student, len(getattr(labeled, "classes", ())) or CLASSES[labeled.kind]
    student = tool.on_meta(config, tuple(map(str, range(classes)))).eval()
    encoder, last = (weights_of(one) for one in (student.encoder, student.classifier))
    size = ENCODERS[getattr(settings, "encoder", getattr(settings, "size", ""))]
    assert encoder / 1e6 == pytest.approx(size, abs=0.01)
    assert (weights_of(student) - encoder - last) / 1e6 == pytest.approx(DECODERS[settings.kind], abs=0.01)
    height, width = config.view.canvas_hw
    with torch.device("meta"), torch.no_grad():
        logits = student(torch.empty(1, 3, height, width)).logits
    expected = (math.ceil(height / 4), math.ceil(width / 4)) if settings.kind == "deeplab" else (8 * height // 14,) * 2
    assert logits.shape == (1, classes, *expected)


def test_an_instance_preset_builds_at_full_size(instance):
    """Mask2Former's paper counts 44 million weights with a ResNet-50, which has 23.51 without its classifier."""
    config = load_as(TrainConfig, instance)
    classes = OBJECT_CLASSES[config.data.labeled.kind]
    student = tool.on_meta(config, tuple(map(str, range(classes)))).eval()
    assert weights_of(student.backbone) / 1e6 == pytest.approx(23.51, abs=0.01)
    assert weights_of(student) / 1e6 == pytest.approx(44.0, abs=0.05)
    assert student.decoders.classifier.weight.shape == (classes + 1, 256)
    height, width = config.view.canvas_hw
    with torch.device("meta"), torch.no_grad():
        features = student.backbone(torch.empty(1, 3, height, width))
    assert [one.shape for one in features] == [(1, 64 * n, height // n, width // n) for n in (4, 8, 16, 32)]
    assert student.decoders.queries.queries_embedder.weight.shape == (100, 256)


@pytest.mark.parametrize(("name", "published"), PUBLISHED.items())
def test_constants_of_teachers_are_the_published_ones(name, published):
    config = load_as(TrainConfig, INSTANCE[name])
    method, student = config.method, config.method.student
    for run in ("teacher", "student"):
        schedule = getattr(method, run).schedule
        assert {key: getattr(schedule, key) for key in published[run]} == published[run]
    assert burn_in_steps(student.ema, student.schedule.steps) == published["burn_in"]
    assert decay(student.ema.half_life) == pytest.approx(0.9996, abs=1e-6)
    height, width = config.view.canvas_hw
    assert student.pseudo_labels.min_soft_area * height * width / 16 == pytest.approx(published["soft_area"])
    assert (student.pseudo_labels.score_threshold, student.pseudo_labels.mask_threshold) == (0.7, 0.5)
    assert student.unlabeled_weight == 2
    if published["arp"] is None:
        assert (student.arp, student.refinement, method.teacher.distillation) == (None, None, None)
    else:
        assert (student.arp.mode, math.ceil(student.arp.min_area * height * width), student.arp.group) == (
            published["arp"]
        )
        assert (student.refinement.distribution, student.refinement.num_points) == ("softmax", 3)
        assert (method.teacher.distillation.weight, method.teacher.distillation.num_points) == (1, 128)


def test_every_run_of_mask2former_has_its_published_optimizer(instance):
    config = load_as(TrainConfig, instance)
    for run in config.method.batches():
        schedule = run.schedule
        assert not isinstance(schedule, SgdSchedule)
        assert (schedule.learning_rate, schedule.backbone_factor) == (1e-4, 0.1)
        assert (schedule.weight_decay, schedule.decayed, schedule.clip_norm) == (0.05, "no-norms", 0.01)
        assert schedule.warmup == 0
        assert schedule.decay == ("step" if config.data.labeled.kind == "coco" else "poly")


def test_two_steps_of_a_semantic_preset(semantic, tmp_path):
    config = tool.shrink(semantic, tmp_path)
    steps = list(tool.train_steps(config, tmp_path))
    assert len(steps) == tool.STEPS
    for losses in steps:
        assert math.isfinite(losses["loss"])
        assert losses["loss/ce"] > 0


def test_two_steps_of_every_run_of_an_instance_preset(instance, tmp_path):
    config = tool.shrink(instance, tmp_path)
    steps = list(tool.train_steps(config, tmp_path))
    assert len(steps) == tool.STEPS * len(config.method.batches())
    for losses in steps:
        assert math.isfinite(losses["loss"])
        assert losses["loss/class"] > 0
