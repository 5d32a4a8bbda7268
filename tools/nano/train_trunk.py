"""Trains trunk-nano, what nano students start from, on family A: `python -m tools.nano.train_trunk --out DIR`.

What ImageNet is to real backbones. sam-nano's own trunk will not do: it was trained to part things whatever their
colours are, and its deeper features no longer tell them. So it learns on, per pixel and at every stride, to name the
object's shape, colour and texture. The same command goes on where it was stopped; at its end the shipped weights are
replaced (fp16).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from segray.assets import SAM_NANO, TRUNK_NANO
from segray.config.schedule import Schedule
from segray.config.views import WeakView
from segray.datasets.training_rows import TrainingRows
from segray.demo import training
from segray.demo.coco import renamed, write_world
from segray.formats.coco import CocoSource
from segray.formats.registry import open_source
from segray.losses.criterion import Targets
from segray.models.preprocessing import MEAN_RGB, STD_RGB
from segray.nets.trunk import CHANNELS, Trunk
from segray.nets.weights import load_into, load_state
from segray.training.augmentation.batch import Batch
from segray.training.loader import StepLoader

log = logging.getLogger(__name__)

SCENES, SEED = 1500, 100_000
BACKGROUND_WEIGHT: Final = 0.25
"""Most pixels are background; without less weight on them little else is learned at first."""
LOG_EVERY, SAVE_EVERY = 50, 250


class Namer(nn.Module):
    """A linear map from the features of each stride to every vocabulary's words, the last one "background"."""

    def __init__(self, vocabularies: tuple[tuple[str, ...], ...]) -> None:
        super().__init__()
        self.sizes = [len(words) + 1 for words in vocabularies]
        self.heads = nn.ModuleList(nn.Conv2d(width, sum(self.sizes), 1) for width in CHANNELS)

    def losses(self, features: tuple[Tensor, ...], words: Tensor) -> Tensor:
        """Cross-entropy, (strides, vocabularies); `words` (B, V, H, W) int64 are the true ones."""
        found = []
        for head, feature in zip(self.heads, features, strict=True):
            logits = head(feature).split(self.sizes, dim=1)
            coarse = F.interpolate(words.float(), feature.shape[-2:], mode="nearest-exact").long()
            found.append(torch.stack([self._loss(one, coarse[:, at]) for at, one in enumerate(logits)]))
        return torch.stack(found)

    def _loss(self, logits: Tensor, words: Tensor) -> Tensor:
        weight = torch.ones(logits.shape[1])
        weight[-1] = BACKGROUND_WEIGHT
        return F.cross_entropy(logits, words, weight)


class Words:
    """What is at every pixel, per vocabulary."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        columns = list(zip(*(name.split("/") for name in classes), strict=True))
        self.vocabularies = tuple(tuple(sorted(set(column))) for column in columns)
        ids = [[words.index(w) for w in column] for words, column in zip(self.vocabularies, columns, strict=True)]
        self._table = torch.tensor(ids)

    def of(self, batch: Batch) -> Tensor:
        """(B, V, H, W) int64; the number after the last word where there is no object."""
        return torch.stack([self._image(targets, batch.images.shape[-2:]) for targets in batch.targets])

    def _image(self, targets: Targets, size_hw: torch.Size) -> Tensor:
        nothing = torch.tensor([len(words) for words in self.vocabularies])
        found = nothing[:, None, None].repeat(1, *size_hw)
        for number, mask in zip(targets.classes.tolist(), targets.masks, strict=True):
            found[:, mask] = self._table[:, number, None]
        return found


def train(out: Path, steps: int) -> Trunk:
    """Learn, or go on learning; checkpoints are `out`/last.pt."""
    torch.manual_seed(0)
    scenes = write_world(out / "train", "a", SCENES, seed=SEED)
    named = renamed(scenes, lambda shape, words: "/".join((shape, words["colour"], words["texture"])))
    source = CocoSource(uri=str(scenes.parent / "images"), annotations=str(named))
    rows = TrainingRows.build(open_source(source), out / "named.arrow")
    words, trunk = Words(rows.classes), from_sam()
    namer = Namer(words.vocabularies)
    optimizer = torch.optim.AdamW([*trunk.parameters(), *namer.parameters()], weight_decay=0.02)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps, pct_start=0.1)
    start = 0
    parts: dict[str, Any] = {"trunk": trunk, "namer": namer, "optimizer": optimizer, "rate": rate}
    if (out / "last.pt").exists():
        state = torch.load(out / "last.pt", weights_only=True)
        start = state.pop("step")
        for name, part in parts.items():
            part.load_state_dict(state[name])
    schedule = Schedule(steps=steps, labeled_batch=16)
    loader = StepLoader(rows, None, WeakView(**training.VIEW), schedule, seed=0, start_step=start)
    for step, [(batch, _)] in enumerate(loader, start + 1):
        optimizer.zero_grad(set_to_none=True)
        losses = namer.losses(trunk.pyramid(_normalised(batch.images)), words.of(batch))
        losses.mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rate.step()
        if step % LOG_EVERY == 0:
            log.info("step %d, losses by stride and vocabulary: %s", step, losses.detach().numpy().round(2).tolist())
        if step % SAVE_EVERY == 0 or step == steps:
            torch.save({"step": step, **{name: part.state_dict() for name, part in parts.items()}}, out / "last.pt")
    return trunk


def _normalised(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (MEAN_RGB, STD_RGB))
    return (images.float() - mean) / std


def from_sam() -> Trunk:
    """sam-nano's trunk, its batch norms learning again."""
    prefix, trunk = "image_encoder.", Trunk()
    state = {k.removeprefix(prefix): v for k, v in load_state(str(SAM_NANO)).items() if k.startswith(prefix)}
    load_into(trunk, {name: state[name] for name in trunk.state_dict() if name in state}, SAM_NANO.name)
    return trunk.to(memory_format=torch.channels_last).train()


def ship(trunk: Trunk) -> None:
    """Put the weights where nano backbones find them, in half precision."""
    state = {name: value for name, value in trunk.state_dict().items() if value.is_floating_point()}
    save_file({name: value.half().contiguous() for name, value in state.items()}, TRUNK_NANO)


def main(
    out: Annotated[Path, typer.Option(help="Folder for scenes and checkpoints.")],
    steps: Annotated[int, typer.Option(help="Updates in all.")] = 1500,
) -> None:
    """Train, then replace the shipped weights."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    ship(train(out, steps))


if __name__ == "__main__":
    typer.run(main)
