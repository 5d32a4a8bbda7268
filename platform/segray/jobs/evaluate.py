"""The evaluate job: a student, or a store of labels, against known masks, in this process."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segray.config.evaluate import EvaluateConfig, MeasuredStudent
from segray.config.students import SemanticStudentConfig
from segray.config.types import ApProtocol
from segray.datasets.image_check import checked_rows
from segray.datasets.training_rows import labeled_images
from segray.errors import ConfigError
from segray.evaluation.instance_scores import InstanceResult
from segray.evaluation.recall import RecallResult
from segray.evaluation.row_examples import RowExamples
from segray.evaluation.stores import measure_store
from segray.evaluation.students import (
    EvaluationExample,
    EvaluationExamples,
    Seen,
    measure_instances,
    measure_label_maps,
)
from segray.formats.coco.ids import coco_ids_of
from segray.formats.coco.results import coco_results
from segray.formats.registry import open_source
from segray.formats.source import Source
from segray.masks.instances import Instances
from segray.masks.mean_iou import IouResult
from segray.models.build import load_student, open_for, package_of, predicting
from segray.models.student import Student
from segray.nets.device import choose_device
from segray.storage import files
from segray.store import Store
from segray.tally import Reason, Tally

NOT_IN_STORE = Reason("not-in-store", "are not in the store, or were refused there, and are not measured")
Result = InstanceResult | IouResult | RecallResult
Show = Callable[[int, int], None]
FIGURES, PREDICTIONS = "figures.json", "predictions.json"


def evaluate(config: EvaluateConfig, show: Show | None = None) -> Result:
    """Measure; figures, and a student's predictions, are left in `config.out`. `show` is told images done and in all.

    Students of instances are measured by AP, those of label maps by mIoU; stores see `evaluation.stores`.

    Raises:
        BackendError: the folder holds no student that this version knows, or no teacher where that is asked for.
        ConfigError: `student.predict` or `protocol` is not of such a student.
        StoreError, LabelError: there is no such store, or its labels and the masks do not go together.
        DamageError: more of the data is damaged than `max_damaged`.
        SourceError, TrainError: the images or masks cannot be used, or nothing was promoted by that name.
    """
    if config.store is not None:
        return _evaluate_store(config, config.store.uri, show)
    assert config.student is not None, "a config names one of both"
    return _evaluate_student(config, config.student, show)


def _evaluate_store(config: EvaluateConfig, uri: str, show: Show | None) -> Result:
    store, done = Store.open(uri), 0
    total = store.info().images

    def seen() -> None:
        nonlocal done
        done += 1
        if show is not None:
            show(done, total)

    truth = open_source(config.data)
    _read_all(truth)
    truth.tally.check(config.max_damaged, "data")
    result = measure_store(store, truth, seen, protocol=config.protocol)
    if absent := truth.tally["images"].used - result.num_images:
        truth.tally.note("images", NOT_IN_STORE, number=absent)
    about = {"store": store.uri, "images": result.num_images, "tally": truth.tally.to_json()}
    _leave(config, FIGURES, {**about, **result.figures()})
    return result


def _read_all(source: Source) -> None:
    """Count all images and annotations of a source, of which a store may hold a part."""
    for _ in labeled_images(source, source.rows(), crowds=True):
        pass


def last_tally(config: EvaluateConfig) -> Tally:
    """Return what the last evaluation into `config.out` counted."""
    return Tally.from_json(json.loads(files.read_bytes(files.join(config.out, FIGURES)))["tally"])


def _evaluate_student(config: EvaluateConfig, measured: MeasuredStudent, show: Show | None) -> Result:
    folder = package_of(measured)
    student = load_student(folder, choose_device(measured.device, "float32", compiled=False))
    if config.protocol != "coco" and isinstance(student.settings, SemanticStudentConfig):
        raise ConfigError(
            f'protocol: "{config.protocol}" measures objects, and {folder} finds label maps: leave it out'
        )
    student.settings = predicting(student.settings, measured)
    predictions: list[dict[str, Any]] = []
    ids = coco_ids_of(open_for(student.settings, config.data))
    with tempfile.TemporaryDirectory() as scratch:
        rows, tally = checked_rows(
            lambda: open_for(student.settings, config.data),
            Path(scratch) / "rows.arrow",
            max_damaged=config.max_damaged,
            where="data",
            classes=student.classes,
            crowds=True,
            bands=config.bands,
        )
        total = min(measured.max_images or len(rows), len(rows))
        done = 0

        def seen(example: EvaluationExample, found: Instances) -> None:
            nonlocal done
            done += 1
            predictions.extend(coco_results(example.image_id, found, student.classes, ids))
            if show is not None:
                show(done, total)

        result = _measured(student, RowExamples(rows), measured, config.protocol, seen)
    about = {"student": folder, "images": total, "tally": tally.to_json()}
    _leave(config, FIGURES, {**about, **result.figures()})
    _leave(config, PREDICTIONS, predictions)
    return result


def _leave(config: EvaluateConfig, name: str, content: Any) -> None:
    text = json.dumps(content, indent=1 if name == FIGURES else None)
    files.write_bytes_atomic(files.join(config.out, name), text.encode())


def _measured(
    student: Student, examples: EvaluationExamples, measured: MeasuredStudent, protocol: ApProtocol, seen: Seen
) -> InstanceResult | IouResult:
    classes, limit, batch = student.classes, measured.max_images, measured.images_per_batch
    settings = student.settings
    if isinstance(settings, SemanticStudentConfig):
        maps = measure_label_maps(student.predict, examples, classes=classes, limit=limit, batch=batch, seen=seen)
        return maps.result()
    found = measure_instances(
        student.predict,
        examples,
        classes=classes,
        max_dets=settings.predict.top_k,
        protocol=protocol,
        limit=limit,
        batch=batch,
        seen=seen,
    )
    return found.result()
