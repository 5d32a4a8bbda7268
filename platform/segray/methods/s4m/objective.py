"""S4M: semi-supervised instance segmentation with SAM (Yoon et al., ICCV 2025, arXiv 2504.05301).

A teacher learns from few labels, a student from those and from what the teacher says of many unlabeled images. What
stands in the way is the teacher's masks, not its classes; so SAM, frozen, helps three times:

  stage 1, teacher   L = L_M2F(labeled) + w L_SD                                      structural distillation (SD)
  stage 2, student   L = L_M2F(labeled) + 2 L_M2F(unlabeled, pseudo-labels)
      pseudo-labels:  teacher on the weak view -> confident queries -> SAM's masks    pseudo-label refinement (PR)
                      -> instances pasted between images -> strong view               augmentation (ARP)
      teacher:        as it came until burn-in ends, then the student, then its moving average

Stage 2 without PR and ARP, from a teacher without SD, is GuidedDistillation (Berrada et al., WACV 2024, arXiv
2308.02668). Details and constants: docs/methods/s4m.md and docs/methods/guided-distillation.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn
from typing_extensions import override

from segray import keyed_random
from segray.config.base import plain
from segray.datasets.training_rows import TrainingRows
from segray.errors import TrainError
from segray.evaluation.build import evaluator
from segray.losses.criterion import Targets
from segray.masks.instances import Instances
from segray.masks.provenance import Provenance
from segray.methods import component_counts as counts
from segray.methods.component_counts import ComponentCounts
from segray.methods.config import TrainConfig
from segray.methods.labeled_images import check_labeled
from segray.methods.s4m.config import S4M, CachedRefinement, PointRefinement, Refinement, StudentRun, TeacherRun
from segray.methods.s4m.distillation import Structure, StructureCriterion
from segray.methods.s4m.instance_pasting import paste_instances
from segray.methods.s4m.pseudo_labels import TeacherPredictions, select_predictions
from segray.methods.s4m.refine import build_refiner
from segray.methods.s4m.refine.refiner import RefinedLabels, Refiner, on_canvas, unrefined
from segray.methods.s4m.structure import query_points, sam_structure
from segray.models.build import build_student, load_student
from segray.models.student import QueryOutput, Student
from segray.sam.build import build_beside, describe
from segray.sam.protocol import Sam
from segray.store import Store
from segray.store.lookup import StoreLookup
from segray.training.augmentation.batch import Batch
from segray.training.augmentation.colour import strong_view
from segray.training.ema import freeze_weights, update_teacher, weight_distance
from segray.training.objective import Objective, PseudoLabelPair, RunPosition
from segray.training.plan import RunContext, RunPlan
from segray.training.precision import autocast


def plans(_: TrainConfig, method: S4M) -> Sequence[RunPlan]:
    """The teacher's run, then the student's."""
    refinement = method.student.refinement
    asks_sam = method.teacher.distillation is not None or isinstance(refinement, PointRefinement)
    sam = {"sam": describe(method.sam).weights_hash, "dtype": method.sam.precision} if asks_sam else {}
    teacher = RunPlan(
        method="s4m",
        name="teacher",
        schedule=method.teacher.schedule,
        settings={
            "distillation": plain(method.teacher)["distillation"],
            **(sam if method.teacher.distillation else {}),
        },
        objective=partial(TeacherObjective.build, method=method),
        evaluator=evaluator,
    )
    own = {name: value for name, value in plain(method.student).items() if name != "schedule"}
    student = RunPlan(
        method="s4m",
        name="student",
        schedule=method.student.schedule,
        settings={**own, **(sam if isinstance(refinement, PointRefinement) else {}), **_store(refinement)},
        objective=partial(StudentObjective.build, method=method),
        evaluator=evaluator,
        unlabeled=True,
        parents=("teacher",),
        check=partial(_masks_there, method=method),
    )
    return [teacher, student]


# --------------------------------------------------------------------------------------------------------- stage 1


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherInputs:
    """What the teacher's step needs of a piece."""

    labeled: Batch
    structures: Sequence[Structure]
    """SAM's, per image; none without distillation."""


class TeacherStep(nn.Module):
    """L_M2F + w L_SD, with SD on the last output only (docs/methods/s4m.md#structural-distillation)."""

    def __init__(self, student: Student, distillation: StructureCriterion | None) -> None:
        super().__init__()
        self.student, self.distillation = student, distillation

    @override
    def forward(self, inputs: TeacherInputs, count: torch.Tensor) -> dict[str, torch.Tensor]:
        """Named losses."""
        labeled = inputs.labeled
        output = self.student(labeled.images)
        losses = dict(self.student.criterion(output, labeled.targets, keys=labeled.keys, count=count))
        if self.distillation is not None:
            losses |= self.distillation(output, inputs.structures, keys=labeled.keys, count=count[-1:])
        return losses


class TeacherObjective(Objective[TeacherInputs]):
    """Labels, and SAM's structure of the labeled images."""

    def __init__(self, student: Student, settings: TeacherRun, sam: Sam | None) -> None:
        """`sam` is needed where the settings distill."""
        distillation = settings.distillation
        self.student, self.settings, self.sam = student, settings, sam
        self.distillation = StructureCriterion(weight=distillation.weight) if distillation else None
        self.module = TeacherStep(student, self.distillation)

    @classmethod
    def build(cls, context: RunContext, *, method: S4M) -> "TeacherObjective":
        """A fresh student, which becomes the teacher."""
        config = context.config
        student = build_student(config.student, context.classes, seed=config.seed).to(context.device)
        sam = build_beside(method.sam, context.device) if method.teacher.distillation else None
        return cls(student, method.teacher, sam)

    @override
    def prepare(self, labeled: Batch, unlabeled: Batch | None) -> TeacherInputs:
        if self.settings.distillation is None or self.sam is None:
            return TeacherInputs(labeled=labeled, structures=())
        number = self.settings.distillation.num_points
        points = [
            query_points(targets, view, key=keyed_random.key(key, "structure"), number=number)
            for targets, view, key in zip(labeled.targets, labeled.views, labeled.keys, strict=True)
        ]
        return TeacherInputs(labeled=labeled, structures=sam_structure(self.sam, labeled.images, torch.stack(points)))

    @override
    def count(self, prepared: TeacherInputs) -> torch.Tensor:
        counts = [self.student.criterion.count(prepared.labeled.targets)]
        if self.distillation is not None:
            counts.append(self.distillation.count(prepared.structures))
        return torch.cat(counts)


# --------------------------------------------------------------------------------------------------------- stage 2


@dataclass(frozen=True, kw_only=True, eq=False)
class StudentInputs:
    """What the student's step needs of a piece."""

    labeled: Batch
    unlabeled: Batch
    """Mixed and in strong view, with refined pseudo-labels as targets."""


class StudentStep(nn.Module):
    """L_M2F(labeled) + weight L_M2F(unlabeled): two calls of the criterion, each with its own matching.

    See docs/methods/guided-distillation.md#losses.
    """

    def __init__(self, student: Student, unlabeled_weight: float) -> None:
        super().__init__()
        self.student, self.unlabeled_weight = student, unlabeled_weight

    @override
    def forward(self, inputs: StudentInputs, count: torch.Tensor) -> dict[str, torch.Tensor]:
        """Named losses; those of unlabeled images begin with `unlabeled/`."""
        labeled, unlabeled = inputs.labeled, inputs.unlabeled
        output = self.student(torch.cat([labeled.images, unlabeled.images]))
        ours, theirs = _split(output, len(labeled))
        half = len(count) // 2
        criterion = self.student.criterion
        losses = dict(criterion(ours, labeled.targets, keys=labeled.keys, count=count[:half]))
        pseudo = criterion(theirs, unlabeled.targets, keys=unlabeled.keys, count=count[half:])
        return losses | {f"unlabeled/{name}": self.unlabeled_weight * value for name, value in pseudo.items()}


class StudentObjective(Objective[StudentInputs]):
    """Labels, and the teacher's refined labels of unlabeled images."""

    def __init__(self, student: Student, teacher: Student, settings: StudentRun, refiner: Refiner) -> None:
        self.student, self.teacher, self.settings, self.refiner = student, teacher, settings, refiner
        freeze_weights(teacher)
        self.module = StudentStep(student, settings.unlabeled_weight)
        self._figures = ComponentCounts()

    @classmethod
    def build(cls, context: RunContext, *, method: S4M) -> "StudentObjective":
        """Build a fresh student (docs/methods/guided-distillation.md#stages), and load the teacher of stage 1.

        Raises:
            TrainError: the teacher's folder holds another student than this config's.
        """
        config, settings = context.config, method.student
        student = build_student(config.student, context.classes, seed=keyed_random.key(config.seed, "stage 2"))
        teacher = load_student(context.parents["teacher"])
        if (teacher.settings, teacher.classes) != (config.student, context.classes):
            raise TrainError(
                f"{context.parents['teacher']}: the teacher is of another architecture or other classes than its"
                " student; train it anew with --fresh"
            )
        refinement = settings.refinement
        masks = StoreLookup(refinement.store).masks if isinstance(refinement, CachedRefinement) else _no_masks
        refiner = build_refiner(refinement, method.sam, context.device, masks)
        return cls(student.to(context.device), teacher.to(context.device), settings, refiner)

    @override
    def before_step(self, at: RunPosition) -> None:
        update_teacher(self.teacher, self.student, self.settings.ema, at)

    @override
    @torch.no_grad()
    def prepare(self, labeled: Batch, unlabeled: Batch | None) -> StudentInputs:
        """Run teacher, filter, refinement, mixing and strong view in this order (docs/methods/s4m.md#stages)."""
        assert unlabeled is not None
        refined = self.refiner.refine(unlabeled, self._guess(unlabeled))
        targets = [Targets(classes=one.classes, masks=one.masks) for one in refined]
        images, pasted = unlabeled.images, [0] * len(unlabeled)
        if self.settings.arp is not None:
            images, targets, pasted = paste_instances(images, targets, self.settings.arp, unlabeled.keys)
        self._remember(refined, pasted)
        strong = strong_view(images, self.settings.strong, unlabeled.keys)
        coarse = tuple(_coarse(one, self.settings) for one in targets)
        return StudentInputs(labeled=labeled, unlabeled=replace(unlabeled, images=strong, targets=coarse))

    @override
    def count(self, prepared: StudentInputs) -> torch.Tensor:
        criterion = self.student.criterion
        return torch.cat([criterion.count(prepared.labeled.targets), criterion.count(prepared.unlabeled.targets)])

    @override
    def figures(self) -> Mapping[str, tuple[float, float]]:
        found = self._figures.take()
        return {**found, counts.TEACHER_DISTANCE: (weight_distance(self.teacher, self.student), 1.0)}

    @override
    def teachers(self) -> Mapping[str, nn.Module]:
        return {"teacher": self.teacher}

    @torch.no_grad()
    @override
    def label(self, batch: Batch) -> list[PseudoLabelPair]:
        predictions = self._guess(batch)
        before = [unrefined(*on_canvas(one, view)) for one, view in zip(predictions, batch.views, strict=True)]
        after = self.refiner.refine(batch, predictions)
        pairs = zip(before, after, strict=True)
        return [PseudoLabelPair(teacher=_instances(one), refined=_instances(other)) for one, other in pairs]

    def _guess(self, batch: Batch) -> list[TeacherPredictions]:
        """Select the teacher's confident queries (docs/methods/guided-distillation.md#pseudo-labels)."""
        with autocast(self.settings.schedule, batch.images.device):
            output = self.teacher(batch.images)
        return select_predictions(output.class_logits[-1], output.mask_logits[-1], self.settings.pseudo_labels)

    def _remember(self, refined: Sequence[RefinedLabels], pasted: Sequence[int]) -> None:
        """How often each component that there is acted; shares are of images, or of labels."""
        figures, images, labels = self._figures, len(refined), sum(len(one) for one in refined)
        figures.add(counts.LABELS_PER_IMAGE, labels, images)
        figures.add(counts.IMAGES_LABELED, sum(len(one) > 0 for one in refined), images)
        if self.settings.refinement is not None:
            replaced = [one.replaced for one in refined]
            figures.add(counts.MASKS_REPLACED, torch.cat(replaced).sum(), labels)
            figures.add(counts.IMAGES_REFINED, torch.stack([one.any() for one in replaced]).sum(), images)
            figures.add(counts.IOU_WITH_TEACHER, torch.cat([one.iou_with_teacher for one in refined]).sum(), labels)
        if self.settings.arp is not None:
            figures.add(counts.PASTED_PER_IMAGE, sum(pasted), images)
            figures.add(counts.IMAGES_PASTED_INTO, sum(number > 0 for number in pasted), images)


def _split(output: QueryOutput, number: int) -> tuple[QueryOutput, QueryOutput]:
    """The output for the first `number` images, and for the others."""

    def part(own: slice) -> QueryOutput:
        return QueryOutput(
            class_logits=tuple(one[own] for one in output.class_logits),
            mask_logits=tuple(one[own] for one in output.mask_logits),
            mask_features=output.mask_features[own],
            boxes=tuple(one[own] for one in output.boxes),
        )

    return part(slice(None, number)), part(slice(number, None))


def _coarse(targets: Targets, settings: StudentRun) -> Targets:
    """Sample masks at every `target_stride` pixels and drop those that vanish (docs/methods/s4m.md#target-grid)."""
    stride = settings.target_stride
    first = stride // 2 if settings.target_pixel == "middle" else 0
    masks = targets.masks[:, first::stride, first::stride]
    seen = masks.flatten(1).any(1)
    return Targets(classes=targets.classes[seen], masks=masks[seen])


def _instances(labels: RefinedLabels) -> Instances:
    return Instances.from_masks(
        labels.masks.cpu().numpy(),
        provenance=Provenance.TEACHER,
        scores=labels.scores.cpu().numpy(),
        classes=labels.classes.cpu().numpy(),
    )


def _store(refinement: Refinement | None) -> dict[str, str]:
    """What made the cached masks, wherever they lie."""
    if not isinstance(refinement, CachedRefinement):
        return {}
    return {"store": Store.open(refinement.store).manifest.fingerprint}


def _masks_there(rows: Mapping[str, TrainingRows], *, method: S4M) -> None:
    refinement = method.student.refinement
    if isinstance(refinement, CachedRefinement):
        check_labeled(StoreLookup(refinement.store), rows["unlabeled"].image_ids)


def _no_masks(_: str) -> Instances | None:
    return None
