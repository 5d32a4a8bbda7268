"""A student as ONNX: one canvas size, any number of images, and proof that it says what the student says.

The canvas is fixed because an export of transformers' Mask2Former with free height and width keeps the traced size in
places and answers wrongly without an error; whatever disagrees with torch is refused. Needs the extra `onnx`.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch
from torch import Tensor, nn

from segray.config.students import SemanticStudentConfig
from segray.errors import BackendError, ExportError
from segray.models.student import SemanticOutput, Student
from segray.storage import files

TOLERANCE: Final = 5e-3
"""Largest mean difference to torch that passes, as a share of the mean absolute logit. More than rounding: where a
mask logit is about zero, that opens or closes a cell of the next layer's masked attention for one query."""


class _Final(nn.Module):
    """uint8 RGB images (B, 3, H, W) to what inference needs."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output = self.student(images)
        if isinstance(output, SemanticOutput):
            return (output.logits,)
        return output.class_logits[-1], output.mask_logits[-1]


def export_onnx(student: Student, path: str, canvas_hw: tuple[int, int]) -> float:
    """Write `path` (a path or URI): `images` (B, 3, H, W) uint8 RGB to the final `class_logits` and `mask_logits`; of a
    semantic student to its `logits`.

    Returns the difference to torch found on batches of 1 and 3 (see TOLERANCE).

    Raises:
        ExportError: a canvas that the student cannot take, or an export that does not agree with the student.
        BackendError: the packages for it are not installed.
    """
    multiple = student.settings.multiple
    if any(length < multiple or length % multiple for length in canvas_hw):
        raise ExportError(f"ONNX canvas {canvas_hw}: both sides must be multiples of {multiple}")
    with _cpu_inference(student) as module, TemporaryDirectory() as folder:
        file = Path(folder) / "student.onnx"
        semantic = isinstance(student.settings, SemanticStudentConfig)
        _write(module, file, canvas_hw, ["logits"] if semantic else ["class_logits", "mask_logits"])
        difference = _difference(module, file, [_images(number, canvas_hw) for number in (1, 3)])
        if not difference <= TOLERANCE:
            raise ExportError(
                f"the ONNX export differs from the student by {difference:.3g} of its mean logit (allowed "
                f"{TOLERANCE}): it was not written; export with the versions in constraints.txt"
            )
        files.write_bytes_atomic(path, file.read_bytes())
    return difference


def _write(module: nn.Module, file: Path, canvas_hw: tuple[int, int], outputs: Sequence[str]) -> None:
    if any(find_spec(package) is None for package in ("onnxscript", "onnxruntime")):
        raise BackendError("ONNX export needs packages that are not here: pip install 'segray[onnx]'")
    with _quiet():
        torch.onnx.export(
            module,
            (_images(2, canvas_hw),),
            file,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            external_data=False,
            verbose=False,
        )


def _images(number: int, canvas_hw: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    return torch.randint(0, 256, (number, 3, *canvas_hw), dtype=torch.uint8, generator=generator)


def _difference(module: nn.Module, file: Path, batches: Sequence[Tensor]) -> float:
    """The largest over batches and outputs (see TOLERANCE); infinite for other shapes."""
    import onnxruntime  # noqa: PLC0415

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    shares: list[float] = []
    for images in batches:
        for ours, theirs in zip(module(images), session.run(None, {"images": images.numpy()}), strict=True):
            if ours.shape != theirs.shape:
                return float("inf")
            shares.append(((ours - torch.from_numpy(theirs)).abs().mean() / ours.abs().mean()).item())
    return max(shares)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings about what it leaves unfolded."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _cpu_inference(student: Student) -> Iterator[nn.Module]:
    """The student on the CPU in eval mode without gradients, then as it was."""
    training, device = student.training, next(student.parameters()).device
    try:
        with torch.no_grad():
            yield _Final(student).cpu().eval()
    finally:
        student.to(device).train(training)
