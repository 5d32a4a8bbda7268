"""Training rows as images to be measured on. Knows rows and pixels; knows no method and no model."""

from segray.datasets.training_rows import TrainingRows
from segray.evaluation.students import EvaluationExample
from segray.images import decoding
from segray.masks.instances import Instances


class RowExamples:
    """`EvaluationExamples` over training rows; an image is decoded when it is asked for."""

    def __init__(self, rows: TrainingRows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> EvaluationExample:
        row = self.rows.row(index)
        pixels, _ = decoding.load(row.uri, decoding.MOST_PIXELS, self.rows.bands)
        true = row.instances if row.instances is not None else Instances.empty(pixels.shape[:2])
        return EvaluationExample(image_id=row.image_id, pixels=pixels, true=true)
