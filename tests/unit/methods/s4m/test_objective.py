"""S4M's two objectives: what happens in which order, who learns, and how often each component acts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typing_extensions import override

from segray.config.views import StrongView
from segray.errors import BackendError
from segray.formats.registry import open_source
from segray.losses.criterion import Targets
from segray.masks.instances import Instances
from segray.methods.s4m.config import Arp, PseudoLabels, StudentRun
from segray.methods.s4m.instance_pasting import paste_instances
from segray.methods.s4m.objective import StudentObjective
from segray.methods.s4m.pseudo_labels import TeacherPredictions
from segray.methods.s4m.refine.refiner import RefinedLabels, Refiner
from segray.models.student import QueryOutput, Student
from segray.store import Store
from segray.store.rows import LabeledRow
from segray.training.augmentation.batch import Batch
from segray.training.augmentation.colour import strong_view
from segray.training.distributed import WorkerGroup
from segray.training.loader import StepLoader
from segray.training.loop import Loop
from segray.training.objective import RunPosition

CPU = torch.device("cpu")
NO_SAM = ["method.teacher.distillation=none", "method.sam.kind=original", "method.sam.weights=nowhere.pth"]
ACTED = {
    *("labels_per_image", "images_labeled", "masks_replaced", "images_refined", "iou_with_teacher"),
    *("pasted_per_image", "images_pasted_into", "teacher_distance"),
}


def first_step(made):
    """The pieces of a run's first step."""
    return next(
        iter(
            StepLoader(
                made.rows["labeled"],
                made.rows["unlabeled"] if made.plan.unlabeled else None,
                made.config.view,
                made.plan.schedule,
                seed=made.config.seed,
            )
        )
    )


def advanced(made):
    """An objective after its first step, and what the loop tells of it."""
    objective = made.objective()
    loop = Loop(objective, made.plan.schedule, WorkerGroup(device=CPU))
    loop.advance(first_step(made), 0)
    return objective, loop.metrics()


# ------------------------------------------------------------------------------------------ order, by planted parts


class Planted(Student):
    """A teacher that says the same of every image: a sure box, an unsure one, and a sure nothing."""

    classes = ("disc", "square")

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.saw: list[Tensor] = []

    @override
    def forward(self, images: Tensor) -> QueryOutput:
        assert not self.training
        self.saw.append(images)
        logits = torch.tensor([[0.0, 9.0, 0.0], [0.0, 1.0, 0.9], [0.0, 0.0, 9.0]])
        masks = torch.full((3, 16, 16), -9.0)
        masks[:, 4:8, 4:12] = 9.0
        number = len(images)
        return QueryOutput(
            # Only the last output counts.
            class_logits=(torch.zeros(number, 3, 3), logits.expand(number, -1, -1)),
            mask_logits=(torch.zeros(number, 3, 16, 16), masks.expand(number, -1, -1, -1)),
            mask_features=torch.zeros(number, 4, 16, 16),
        )

    @override
    def predict(self, images):
        pytest.fail("training asks a teacher for its queries, never for predictions")

    @override
    def backbone_parameters(self):
        return iter(())


class Lower(Refiner):
    """Says that objects are four rows lower than the teacher thinks; remembers what it was asked."""

    def __init__(self) -> None:
        self.images = torch.empty(0)
        self.predictions: Sequence[TeacherPredictions] = ()

    @override
    def refine(self, batch: Batch, predictions: Sequence[TeacherPredictions]) -> list[RefinedLabels]:
        self.images, self.predictions = batch.images, predictions
        return [self._one(one) for one in predictions]

    def _one(self, predictions: TeacherPredictions) -> RefinedLabels:
        masks = torch.zeros(len(predictions), 64, 64, dtype=torch.bool)
        masks[:, 20:36, 16:48] = True
        number = len(predictions)
        return RefinedLabels(
            classes=predictions.classes,
            scores=predictions.scores,
            masks=masks,
            replaced=torch.ones(number, dtype=torch.bool),
            iou_with_teacher=torch.full((number,), 0.6),
            predicted_iou=torch.full((number,), 0.9),
        )


@pytest.fixture
def planted(tiny):
    """A step's unlabeled images prepared by planted parts: objective, weak views, what is prepared."""

    def prepare(arp: Arp | None, target_stride: int = 4, target_pixel: str = "middle"):
        made = tiny("s4m", "student")
        settings = StudentRun(
            pseudo_labels=PseudoLabels(score_threshold=0.7),
            arp=arp,
            target_stride=target_stride,
            target_pixel=target_pixel,
            strong=StrongView(grey=1, jitter=0, blur=0),
        )
        objective = StudentObjective(made.objective().student, Planted(), settings, Lower())
        ((labeled, unlabeled),) = first_step(made)
        return objective, unlabeled, objective.prepare(labeled, unlabeled)

    return prepare


@pytest.mark.parametrize("arp", [None, Arp(mode="static", min_area=0), Arp(mode="dynamic", min_area=0)], ids=str)
def test_teacher_then_filter_then_refinement_then_mixing_then_strong_view(planted, arp):
    objective, weak, prepared = planted(arp)
    teacher, refiner = objective.teacher, objective.refiner
    assert torch.equal(teacher.saw[0], weak.images)
    assert [one.classes.tolist() for one in refiner.predictions] == [[1]] * 4
    assert torch.equal(refiner.images, weak.images)
    refined = torch.zeros(1, 64, 64, dtype=torch.bool)
    refined[:, 20:36, 16:48] = True
    mixed, targets = weak.images, [Targets(classes=torch.tensor([1]), masks=refined)] * 4
    if arp is not None:
        mixed, targets, pasted = paste_instances(mixed, targets, arp, weak.keys)
        assert sum(pasted) == 2
        assert not torch.equal(mixed, weak.images)
    strong = strong_view(mixed, objective.settings.strong, weak.keys)
    assert torch.equal(prepared.unlabeled.images, strong)
    assert not torch.equal(strong, mixed)
    for found, expected in zip(prepared.unlabeled.targets, targets, strict=True):
        assert torch.equal(found.classes, expected.classes)
        assert torch.equal(found.masks, expected.masks[:, 2::4, 2::4])


@pytest.mark.parametrize(
    ("stride", "pixel", "first"), [(1, "middle", 0), (2, "middle", 1), (4, "middle", 2), (4, "first", 0)]
)
def test_targets_are_of_the_cells_that_the_config_says(planted, stride, pixel, first):
    _, weak, prepared = planted(None, stride, pixel)
    refined = torch.zeros(1, 64, 64, dtype=torch.bool)
    refined[:, 20:36, 16:48] = True
    for found in prepared.unlabeled.targets:
        assert torch.equal(found.masks, refined[:, first::stride, first::stride])
    assert len(prepared.unlabeled.targets) == len(weak)


def test_figures_say_how_often_each_component_acted(planted):
    objective, _, _ = planted(Arp(mode="dynamic", min_area=0))
    figures = objective._figures.take()
    assert figures["labels_per_image"] == figures["images_labeled"] == (4, 4)
    assert figures["masks_replaced"] == figures["images_refined"] == (4, 4)
    assert figures["iou_with_teacher"] == pytest.approx((2.4, 4))
    assert figures["pasted_per_image"] == figures["images_pasted_into"] == (2, 4)
    assert objective._figures.take() == {}


def test_a_class_goes_with_a_mask_that_vanishes_at_the_students_stride(planted):
    objective, weak, _ = planted(None)
    tall = torch.zeros(2, 64, 64, dtype=torch.bool)
    tall[0, 0, 0] = tall[1, 8:12, 8:12] = True

    class Tiny(Lower):
        @override
        def _one(self, predictions: TeacherPredictions) -> RefinedLabels:
            both = predictions.filter(torch.tensor([0, 0]))
            found = Lower._one(self, both)
            return RefinedLabels(**{**vars(found), "masks": tall, "classes": torch.tensor([0, 1])})

    objective.refiner = Tiny()
    targets = objective.prepare(weak, weak).unlabeled.targets
    assert [one.classes.tolist() for one in targets] == [[1]] * 4


# ------------------------------------------------------------------------------------------------------- real parts


def test_every_component_acts_in_the_tiny_run(tiny):
    _, figures = advanced(tiny("s4m", "student"))
    assert figures.keys() >= ACTED
    for name in ("images_labeled", "masks_replaced", "images_refined", "images_pasted_into", "iou_with_teacher"):
        assert 0 < figures[name] <= 1, name


@pytest.mark.parametrize("overrides", [[], ["refinement=none"], ["arp=none"], ["refinement=none", "arp=none"]], ids=str)
def test_components_can_be_left_out(tiny, overrides):
    _, figures = advanced(tiny("s4m", "student", *(f"method.student.{one}" for one in overrides)))
    assert figures["images_labeled"] > 0
    assert (figures.get("masks_replaced", 0) > 0) is ("refinement=none" not in overrides)
    assert ("masks_replaced" in figures) is ("refinement=none" not in overrides)
    assert (figures.get("images_pasted_into", 0) > 0) is ("images_pasted_into" in figures)
    assert ("images_pasted_into" in figures) is ("arp=none" not in overrides)


def test_the_teacher_is_in_the_checkpoint_and_learns_nothing_from_gradients(tiny):
    objective, _ = advanced(tiny("s4m", "student"))
    teacher = objective.teachers()["teacher"]
    assert not teacher.training
    assert all(one.grad is None and not one.requires_grad for one in teacher.parameters())
    ours = {id(one) for one in teacher.parameters()}
    assert not ours & {id(one) for one in objective.module.parameters()}
    assert {one.removeprefix("student.") for one in objective.module.state_dict()} == teacher.state_dict().keys()


@pytest.mark.parametrize(("step", "follows"), [(0, "itself"), (1, "itself"), (2, "student"), (3, "average")])
def test_the_teacher_follows_before_the_step(tiny, step, follows):
    objective = tiny("s4m", "student").objective()
    before = {name: value.clone() for name, value in objective.teacher.state_dict().items()}
    objective.before_step(RunPosition(step=step, steps=4))
    now, student = objective.teacher.state_dict(), objective.student.state_dict()
    moved = [name for name, value in now.items() if not torch.equal(value, before[name])]
    if follows == "itself":
        assert moved == []
        return
    assert moved
    expected = {name: student[name] if follows == "student" else (before[name] + student[name]) / 2 for name in moved}
    torch.testing.assert_close({name: now[name] for name in moved}, expected)


def test_the_student_is_no_copy_of_the_teacher(tiny):
    """Stage 2 starts a fresh student (docs/methods/guided-distillation.md#stages); stage 1 starts as supervised."""
    runs = (("s4m", "teacher"), ("s4m", "student"), ("supervised", "student"))
    teacher, student, supervised = (dict(tiny(*run).objective().student.named_parameters()) for run in runs)
    assert all(torch.equal(value, supervised[name]) for name, value in teacher.items())
    assert not all(torch.equal(value, student[name]) for name, value in teacher.items())


def test_stage_1_distils_and_its_module_holds_no_sam(tiny):
    objective, figures = advanced(tiny("s4m", "teacher"))
    assert figures["loss/structure"] > 0
    assert objective.teachers() == {}
    student = {f"student.{name}" for name in objective.student.state_dict()}
    assert objective.module.state_dict().keys() == student
    _, plain = advanced(tiny("s4m", "teacher", "method.teacher.distillation=none"))
    assert "loss/structure" not in plain


@pytest.mark.parametrize("run", ["teacher", "student"])
def test_a_recipe_without_sam_builds_none(tiny, run):
    _, figures = advanced(tiny("s4m", run, *NO_SAM, "method.student.refinement=none"))
    assert figures["loss"] > 0


def test_a_run_with_sam_says_at_once_that_it_has_none(tiny):
    with pytest.raises(BackendError, match=r"nowhere\.pth"):
        tiny("s4m", "student", *NO_SAM)


def test_cached_refinement_takes_the_stores_masks_and_builds_no_sam(tiny, tmp_path):
    made = tiny("s4m", "student")
    store = automatic_masks(made, tmp_path)
    settings = ["method.student.refinement.kind=cached", f"method.student.refinement.store={store}"]
    made = tiny(
        "s4m", "student", *NO_SAM, *settings, "method.student.refinement.min_iou=0.0", "method.student.arp=none"
    )
    made.plan.check(made.rows)
    objective, figures = advanced(made)
    assert figures["masks_replaced"] == 1
    ((labeled, unlabeled),) = first_step(made)
    for target, view in zip(objective.prepare(labeled, unlabeled).unlabeled.targets, unlabeled.views, strict=True):
        rows, columns = view.valid_hw
        inside = torch.zeros(16, 16, dtype=torch.bool)
        inside[: (rows + 1) // 4, : (columns + 1) // 4] = True
        assert all(torch.equal(mask, inside) for mask in target.masks)


def automatic_masks(made, folder: Path) -> str:
    """A store with one mask per unlabeled image: all of it."""
    store = Store.create(str(folder / "stores"), "masks", {})
    everything = Instances.from_masks(np.ones((1, 64, 64), dtype=bool), provenance="sam:test", scores=[0.9])
    rows = open_source(made.config.data.unlabeled).rows()
    store.write_part([LabeledRow(image=row, instances=everything, seconds=0.0) for row in rows])
    return store.uri
