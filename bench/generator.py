"""Automatic mask generation, exact and fast, against SamAutomaticMaskGenerator: same weights, images and parameters.

    PYTHONPATH=platform:. python -m bench.generator [--json FILE] [--quick] [--threads N] [--model NAME]

Times run from pixels to run lengths, 32 x 32 points, taken in turns (A B C A B C) so that a noisy machine disturbs all
alike; ratios are taken within a turn. The reference runs at its default batch of 64 points and at its best one. Needs
no Ray. With random weights (`random`: a small encoder at 1,024 px under a real-sized decoder) only time means anything;
thresholds are then set so that a stated share of masks survives.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator, build_sam_vit_h
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from segray.config.sam import MaskGeneration
from segray.demo.world import scene
from segray.sam.backends.segment_anything.model import OriginalSam
from segray.sam.backends.segment_anything.nano import load_sam_nano
from segray.sam.mask_generation.filters import stability_scores
from segray.sam.mask_generation.generator import MaskGenerator
from segray.sam.mask_generation.grids import grid_points
from segray.sam.protocol import Image, Prompts

SURVIVING = 0.3
"""Share of masks above the predicted-IoU threshold."""
BATCHES = (1, 2, 4, 8, 16, 32, 64, 256)
"""Points per batch tried for the reference's best."""
Run = Callable[[Image], int]
"""Takes an image, gives the number of masks."""


def random_sam() -> Sam:
    """A small random encoder at 1,024 px under a decoder of the real size."""
    torch.manual_seed(0)
    encoder = ImageEncoderViT(img_size=1024, embed_dim=96, depth=2, num_heads=4, window_size=14, use_rel_pos=True)
    prompts = PromptEncoder(256, (64, 64), (1024, 1024), mask_in_chans=16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048)
    return Sam(encoder, prompts, MaskDecoder(transformer_dim=256, transformer=transformer)).eval()


def random_vit_h() -> Sam:
    """The largest architecture with random weights."""
    torch.manual_seed(0)
    return build_sam_vit_h().eval()


MODELS: Mapping[str, Callable[[], Sam]] = {"nano": load_sam_nano, "random": random_sam, "vit_h": random_vit_h}


def ours(model: Sam, device: torch.device, **options: Any) -> OriginalSam:
    """The model behind segray's protocol."""
    return OriginalSam(model, name="bench", weights_hash="", device=device, **options)


def tuned(sam: OriginalSam, image: Image, points: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Parameters that leave a fixed share of masks, and the shares of masks and prompts they leave."""
    embedding = sam.embed([image])
    grid = torch.from_numpy(grid_points(8, image.shape[:2]))[:, None]
    prompts = Prompts(image_index=torch.zeros(64, dtype=torch.long), points_xy=grid, labels=torch.ones(64, 1))
    decoded = sam.decode(embedding, prompts)
    scores = decoded.scores
    # The reference's filter is off at or below 0: random weights' scores are lifted above.
    lift = max(0.0, 0.1 - float(scores.min()))
    sam.model.mask_decoder.iou_prediction_head.layers[-1].bias += lift
    threshold = float(torch.quantile(scores + lift, 1 - SURVIVING))
    kept = scores + lift > threshold
    logits = sam.logits(decoded, torch.nonzero(kept.flatten())[:, 0])
    offset = min(1.0, float(logits.std()) / 10)
    stabilities = stability_scores(logits, sam.mask_threshold, offset).nan_to_num()
    shares = {"masks": kept.float().mean().item(), "prompts": kept.any(dim=1).float().mean().item()}
    parameters = {
        "points_per_side": points,
        "pred_iou_thresh": threshold,
        "stability_score_thresh": min(0.95, float(stabilities.median())),
        "stability_score_offset": offset,
    }
    return parameters, shares


def reference(model: Sam, parameters: dict[str, Any], batch: int) -> Run:
    """segment-anything's own generator, to run lengths."""
    generator = SamAutomaticMaskGenerator(model, points_per_batch=batch, output_mode="coco_rle", **parameters)
    return lambda image: len(generator.generate(image))


def segray(sam: OriginalSam, parameters: dict[str, Any], mode: str) -> Run:
    """segray's generator."""
    generator = MaskGenerator(sam, MaskGeneration(mode=mode, **parameters))  # type: ignore[arg-type]
    return lambda image: len(generator.generate([image])[0])


def timed(run: Run, image: Image) -> tuple[float, int]:
    """Seconds and masks."""
    started = time.perf_counter()
    masks = run(image)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started, masks


def best_batch(model: Sam, parameters: dict[str, Any], image: Image) -> int:
    """The points per batch at which the reference is fastest, tried on an 8 x 8 grid twice, the faster taken."""
    fewer = parameters | {"points_per_side": 8 if not torch.cuda.is_available() else 32}
    batches = [batch for batch in BATCHES if batch <= fewer["points_per_side"] ** 2]
    seconds = {batch: min(timed(reference(model, fewer, batch), image)[0] for _ in range(2)) for batch in batches}
    return min(seconds, key=lambda batch: seconds[batch])


def compare(name: str, images: Sequence[Image], points: int, turns: int) -> dict[str, Any]:
    """All ways of one model, in turns."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = MODELS[name]()
    sam = ours(model, device)
    parameters, shares = tuned(sam, images[0], points)
    best = best_batch(model, parameters, images[0])
    runs = {"reference at 64": reference(model, parameters, 64)}
    if best != 64:
        runs["reference at best"] = reference(model, parameters, best)
    runs |= {mode: segray(sam, parameters, mode) for mode in ("exact", "fast")}
    if device.type == "cuda":
        half = ours(model, device, dtype="bfloat16")
        compiled = ours(model, device, dtype="bfloat16", compiled=True)
        runs |= {f"{mode} bf16": segray(half, parameters, mode) for mode in ("exact", "fast")}
        runs |= {f"{mode} bf16 compiled": segray(compiled, parameters, mode) for mode in ("exact", "fast")}
    for run in runs.values():
        if device.type == "cuda":
            run(images[0])
    measured = [{way: timed(run, image) for way, run in runs.items()} for _ in range(turns) for image in images]
    return {
        "model": name,
        "points": points * points,
        "surviving": shares,
        "best_batch": best,
        "ways": {way: summary(way, measured) for way in runs},
    }


def summary(way: str, measured: Sequence[Mapping[str, tuple[float, int]]]) -> dict[str, Any]:
    """Median seconds and masks of a way, its ratios to both references: median, least and most over turns."""
    against = {"64": "reference at 64", "best": "reference at best"}
    ratios = {}
    for label, wanted in against.items():
        slow = wanted if wanted in measured[0] else "reference at 64"
        found = [turn[slow][0] / turn[way][0] for turn in measured]
        ratios[label] = [statistics.median(found), min(found), max(found)]
    return {
        "seconds": statistics.median(turn[way][0] for turn in measured),
        "masks": statistics.mean(turn[way][1] for turn in measured),
        "faster_than_reference_at": ratios,
    }


def show(result: Mapping[str, Any]) -> None:
    """A table on the terminal."""
    shares = result["surviving"]
    print(
        f"\n{result['model']}: {result['points']} points, {shares['masks']:.0%} of masks and {shares['prompts']:.0%} of"
        f" prompts survive the predicted IoU; the reference's best batch is {result['best_batch']}"
    )
    print(f"{'':24}{'s/image':>9}{'masks':>7}{'x at 64':>22}{'x at best':>22}")
    for way, row in result["ways"].items():
        ratios = ["{:6.2f} ({:.2f}-{:.2f})".format(*row["faster_than_reference_at"][label]) for label in ("64", "best")]
        print(f"{way:24}{row['seconds']:9.2f}{row['masks']:7.0f}{ratios[0]:>22}{ratios[1]:>22}", flush=True)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="8 x 8 points, one turn: does it run")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch threads, both sides")
    parser.add_argument("--turns", type=int, help="rounds over the images")
    parser.add_argument("--points", type=int, help="points per side, 32 unless quick")
    models = ["nano", "random", *(["vit_h"] if torch.cuda.is_available() else [])]
    parser.add_argument("--model", action="append", choices=list(MODELS), help=f"default: {', '.join(models)}")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    points = options.points or (8 if options.quick else 32)
    # Scenes are square; a photograph's shape is more usual and has padding to take away.
    images = [np.ascontiguousarray(scene("b", seed, 640).image[:480]) for seed in (1, 2)]
    results = []
    for name in options.model or models:
        # A turn of the reference takes minutes at 1,024 px on a CPU.
        some = images if name == "nano" or torch.cuda.is_available() else images[:1]
        turns = options.turns or (1 if options.quick else 2 if len(some) == 1 else 3)
        results.append(compare(name, some, points, turns))
        show(results[-1])
    if options.json:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        figures = {"device": device, "threads": torch.get_num_threads(), "results": results}
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
