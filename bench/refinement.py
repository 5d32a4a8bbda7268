"""What refinement by sam-nano does to masks of known quality, on scenes of a world it was not trained on.

    PYTHONPATH=platform:. python -m bench.refinement [--sam perfect] [--weights FILE] [--scenes N] [--json FILE]

The teacher's masks are true ones, made worse in one of four ways by an amount that grows with the strength: too large,
too small, moved, or leaking into the nearest other object; their outline wobbles, their logits rise smoothly from it.
SAM sees the 128-px canvas. Gates are applied to the masks that the ungated refiner offers; `oracle` takes whichever of
the two masks is better. Figures are means over objects of the IoU with the truth, at canvas resolution. `--sam perfect`
is a stand-in that gives the true mask under a prompt's first point: what the choice of points alone loses.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segray.config.sam import OriginalSamConfig
from segray.demo.world import scene
from segray.masks.view import View
from segray.methods.s4m.config import PointRefinement
from segray.methods.s4m.pseudo_labels import TeacherPredictions
from segray.methods.s4m.refine.points import PointRefiner
from segray.methods.s4m.refine.refiner import RefinedLabels, on_canvas
from segray.sam.build import build
from segray.sam.protocol import Sam
from segray.sam.testing import PaintedSam
from segray.training.augmentation.batch import Batch
from tools.nano.sam_evaluation import HELD_OUT_SEED

SIDE, STRIDE = 128, 4
STRENGTHS = (0.15, 0.35, 0.6)
KINDS = ("grow", "shrink", "shift", "leak")
SCENES_AT_ONCE = 8
POINTS = (1, 3, 5, 9)
TEACHER_GATES = (0.0, 0.3, 0.5, 0.7)
PREDICTED_GATES = (0.0, 0.4, 0.5, 0.6, 0.7)
BINS = (0.0, 0.3, 0.5, 0.65, 0.8, 1.0)
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Case:
    """A scene and a teacher's predictions of it."""

    image: Tensor
    """(3, SIDE, SIDE) uint8."""
    truth: Tensor
    """(N, SIDE, SIDE) bool."""
    predictions: TeacherPredictions
    """`classes` index `KINDS`."""


def cases(number: int, strength: float, seed: int, *, painted: bool) -> Iterator[Case]:
    """Scenes with objects; the same arguments, the same masks."""
    for index in range(number):
        found = scene("b", HELD_OUT_SEED + seed + index, SIDE)
        if not found.objects:
            continue
        rng = np.random.default_rng([seed, index, round(strength * 100)])
        truth = np.stack([item.mask for item in found.objects])
        kinds = rng.integers(len(KINDS), size=len(truth))
        logits = [worse(truth, row, KINDS[kind], strength, rng) for row, kind in enumerate(kinds)]
        yield Case(
            image=torch.from_numpy(found.image).permute(2, 0, 1) if not painted else paint(truth),
            truth=torch.from_numpy(truth),
            predictions=TeacherPredictions(
                classes=torch.from_numpy(kinds),
                scores=torch.ones(len(truth)),
                logits=torch.from_numpy(np.stack(logits)),
            ),
        )


def paint(truth: Bools) -> Tensor:
    """The scene as `PaintedSam` sees it: red numbers the object of a pixel."""
    image = torch.zeros((3, SIDE, SIDE), dtype=torch.uint8)
    image[0] = torch.from_numpy((truth * np.arange(1, len(truth) + 1)[:, None, None]).max(axis=0))
    return image


def worse(truth: Bools, row: int, kind: str, strength: float, rng: Rng) -> npt.NDArray[np.float32]:
    """Logits (SIDE / 4, SIDE / 4) of a true mask made worse."""
    mask = truth[row]
    extent = float(np.sqrt(mask.sum()))
    amount = strength * extent * rng.uniform(0.5, 1.0)
    distance = depth(mask)
    match kind:
        case "grow":
            distance = distance + amount / 3
        case "shrink":
            distance = distance - min(amount / 3, 0.8 * distance.max())
        case "shift":
            angle = rng.uniform(0, 2 * np.pi)
            move = np.array([[1, 0, amount * np.cos(angle)], [0, 1, amount * np.sin(angle)]])
            distance = cv2.warpAffine(distance, move, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
        case _:
            others = [other for index, other in enumerate(truth) if index != row]
            if others:
                nearest = max(others, key=lambda other: distance[other].max())
                distance = depth(mask | (nearest & (distance > distance[nearest].max() - 3 * amount)))
    coarse = rng.standard_normal((6, 6)).astype(np.float32)
    wobble = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) * strength * extent * 0.1
    return cv2.resize(
        np.clip((distance + wobble) / 2, -8, 8), None, fx=1 / STRIDE, fy=1 / STRIDE, interpolation=cv2.INTER_AREA
    )


def depth(mask: Bools) -> npt.NDArray[np.float32]:
    """Pixels to the outline, negative outside."""
    inside, outside = (cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5) for side in (mask, ~mask))
    return np.asarray(inside - outside, dtype=np.float32)


def view_of(side: int) -> View:
    """A square canvas that is all image."""
    return View(image_hw=(side, side), resized_hw=(side, side), origin_yx=(0, 0), flipped=False, canvas_hw=(side, side))


def iou(first: Tensor, second: Tensor) -> Floats:
    """(N,) of masks (N, H, W) in pairs."""
    both, either = (first & second).sum(dim=(1, 2)), (first | second).sum(dim=(1, 2))
    return (both / either.clamp(min=1)).double().numpy()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """N objects under one refiner without gates; all (N,)."""

    before: Floats
    """IoU of the teacher's mask with the truth."""
    after: Floats
    """IoU of SAM's with the truth."""
    agreement: Floats
    """IoU of the two."""
    predicted: Floats
    """IoU that SAM predicts of its own."""
    kind: npt.NDArray[np.int64]

    def gated(self, teacher: float, predicted: float) -> float:
        """Mean IoU when the teacher's masks are kept under either gate."""
        taken = (self.agreement >= teacher) & (self.predicted >= predicted)
        return float(np.where(taken, self.after, self.before).mean())


def outcome(sam: Sam, given: Sequence[Case], settings: PointRefinement) -> Outcome:
    """Refine all cases."""
    refiner, columns = PointRefiner(sam, settings), []
    for start in range(0, len(given), SCENES_AT_ONCE):
        part = given[start : start + SCENES_AT_ONCE]
        predictions = [case.predictions for case in part]
        # A guess that comes out empty takes its class along: rows are found again by giving each its number as score.
        numbered = [
            TeacherPredictions(classes=one.classes, scores=torch.arange(len(one)).float(), logits=one.logits)
            for one in predictions
        ]
        keys = tuple(range(start, start + len(part)))
        batch = Batch(
            image_ids=tuple(map(str, keys)),
            keys=keys,
            images=torch.stack([case.image for case in part]),
            views=(view_of(SIDE),) * len(part),
            targets=(),
        )
        refined = refiner.refine(batch, numbered)
        columns += [_columns(case, guess, found) for case, guess, found in zip(part, numbered, refined, strict=True)]
    before, after, agreement, predicted, kind = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Outcome(before=before, after=after, agreement=agreement, predicted=predicted, kind=kind)


def _columns(case: Case, predictions: TeacherPredictions, found: RefinedLabels) -> tuple[npt.NDArray[Any], ...]:
    _, teacher = on_canvas(predictions, view_of(SIDE))
    truth = case.truth[found.scores.long()]
    agreement, predicted = found.iou_with_teacher.double().numpy(), found.predicted_iou.double().numpy()
    return iou(teacher, truth), iou(found.masks, truth), agreement, predicted, found.classes.numpy()


def measure(sam: Sam, number: int, seed: int) -> list[dict[str, Any]]:
    """One row per strength and refiner."""
    rows = []
    for strength in STRENGTHS:
        given = list(cases(number, strength, seed, painted=isinstance(sam, PaintedSam)))
        for distribution, num_points, box in product(("probability", "softmax"), POINTS, (False, True)):
            settings = PointRefinement(num_points=num_points, distribution=distribution, box=box)
            rows.append({"strength": strength, "points": num_points, "box": box, "distribution": distribution})
            rows[-1] |= figures(outcome(sam, given, settings))
    return rows


def figures(found: Outcome) -> dict[str, Any]:
    """Everything that a row says."""
    gates = {f"{a}/{b}": round(found.gated(a, b), 4) for a, b in product(TEACHER_GATES, PREDICTED_GATES)}
    bins = np.digitize(found.before, BINS[1:-1])
    gain = found.after - found.before
    return {
        "objects": len(gain),
        "before": round(float(found.before.mean()), 4),
        "after": round(float(found.after.mean()), 4),
        "oracle": round(float(np.maximum(found.before, found.after).mean()), 4),
        "better": round(float((gain > 0).mean()), 4),
        "gates": gates,
        "gain_by_quality": [
            round(float(gain[bins == index].mean()), 4) if (bins == index).any() else None
            for index in range(len(BINS) - 1)
        ],
        "gain_by_kind": {name: round(float(gain[found.kind == index].mean()), 4) for index, name in enumerate(KINDS)},
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    """The rows for people."""
    print(f"gain by the teacher's IoU in bins {BINS}; gates are min_teacher_iou/min_predicted_iou")
    for row in rows:
        best = max(row["gates"], key=row["gates"].get)
        gates = {name: row["gates"][name] for name in ("0.3/0.0", "0.5/0.0", "0.7/0.0", "0.0/0.5", "0.5/0.5")}
        print(
            f"{row['strength']:4} {row['distribution']:11} K={row['points']} box={row['box']:d}  n={row['objects']}"
            f"  {row['before']:.3f} -> {row['after']:.3f}  oracle {row['oracle']:.3f}  better {row['better']:.2f}"
            f"  {gates}  best {best} {row['gates'][best]:.3f}"
        )
        print(f"      by quality {row['gain_by_quality']}  by kind {row['gain_by_kind']}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sam", choices=("nano", "perfect"), default="nano")
    parser.add_argument("--weights", help="sam-nano's; none: those that ship")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    nano = OriginalSamConfig(device="cpu", weights=given.weights)
    sam = PaintedSam(low=SIDE) if given.sam == "perfect" else build(nano)
    rows = measure(sam, 6 if given.quick else given.scenes, given.seed)
    print(f"seed {given.seed}, scenes {HELD_OUT_SEED + given.seed} and on, world b, {SIDE} px")
    show(rows)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
