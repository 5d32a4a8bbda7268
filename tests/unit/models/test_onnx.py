import numpy as np
import onnxruntime
import pytest
import torch

from segray.config.students import Mask2Former
from segray.errors import ExportError
from segray.models import onnx
from segray.models.student import QueryOutput


@pytest.mark.slow
def test_onnx_says_what_torch_says_on_any_batch(tmp_path, build):
    student = build().train()
    difference = onnx.export_onnx(student, str(tmp_path / "student.onnx"), (64, 96))
    assert student.training
    assert difference < onnx.TOLERANCE
    session = onnxruntime.InferenceSession(tmp_path / "student.onnx")
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 64, 96), np.uint8)
    classes, masks = session.run(["class_logits", "mask_logits"], {"images": images})
    with torch.no_grad():
        output = student.eval()(torch.from_numpy(images))
    for ours, theirs in ((classes, output.class_logits[-1]), (masks, output.mask_logits[-1])):
        assert ours.shape == theirs.shape
        close = np.isclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(ours).max())
        assert close.all(axis=tuple(range(2, ours.ndim))).mean() > 0.9, "all but the odd query, to rounding"


class Moody(torch.nn.Module):
    """Answers otherwise when it is exported than when it is asked."""

    training = False
    settings = Mask2Former()

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, images):
        wrong = 2.0 if torch.compiler.is_exporting() else 1.0
        logits = images.float().mean((2, 3))[:, None] * self.scale * wrong
        return QueryOutput(class_logits=(logits,), mask_logits=(logits[..., None],), mask_features=logits)


@pytest.mark.slow
def test_an_export_that_does_not_agree_is_refused(tmp_path):
    with pytest.raises(ExportError, match="differs from the student"):
        onnx.export_onnx(Moody(), str(tmp_path / "student.onnx"), (32, 32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("canvas_hw", [(0, 32), (33, 64), (64, 100)])
def test_canvas_must_suit_the_strides(tmp_path, build, canvas_hw):
    with pytest.raises(ExportError, match="multiples of 32"):
        onnx.export_onnx(build(), str(tmp_path / "student.onnx"), canvas_hw)
