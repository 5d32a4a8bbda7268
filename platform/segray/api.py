"""The front door for Python: the functions that `import segray` offers, over the same jobs that the commands run.

Keyword arguments beyond those that a function lists change the config that it builds or reads: `__` stands for the dot
between a table and its key (`method__student__ema__half_life=30`), a dict changes the keys that it holds
(`workers={"gpus": 1}`), and values are plain Python. Wrong ones raise a `ConfigError` that names them.
Ray is imported only where it is used.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar, cast, get_args

import torch

from segray import job_configs
from segray.config import base
from segray.config.evaluate import EvaluateConfig
from segray.config.label import LabelConfig, StageJob
from segray.config.model_kinds import SamConfig
from segray.config.sam import MaskGeneration
from segray.config.types import Device
from segray.errors import ConfigError
from segray.formats.coco import Crowds
from segray.formats.tally import ExportSummary
from segray.jobs import evaluate as evaluate_job
from segray.jobs import inputs, outputs
from segray.jobs import label as label_job
from segray.jobs import train as train_job
from segray.jobs.progress import counting, label_progress, train_progress
from segray.jobs.source_tables import Boxes, Images, prompt_table, source_table
from segray.labels.predicting.config import PredictConfig
from segray.labels.prompting.config import PromptConfig
from segray.methods.config import TrainConfig
from segray.models.predictor import StudentPredictor
from segray.models.promotion import resolve_student
from segray.nets.device import choose_device, torch_threads_kept
from segray.sam.build import build as build_sam
from segray.sam.predictor import SamPredictor
from segray.store import Store
from segray.tally import MAX_DAMAGED
from segray.training.runs.catalog import show_run

T = TypeVar("T")
Job = TypeVar("Job", bound=StageJob)

STORES: Final = "out/stores"
"""The folder of stores where none is given, below the current one."""
EVALUATION: Final = "out/evaluation"
"""The folder of figures where none is given, below the current one."""
NANO_MASKS: Final[dict[str, Any]] = {"pred_iou_thresh": 0.3, "stability_score_thresh": 0.5}
"""sam-nano is far less sure of itself than the models that the usual thresholds are made for."""
NANO_PROMPTS: Final[dict[str, Any]] = {"min_predicted_iou": 0.4, "min_stability": 0.0}
"""The same for masks of boxes."""
LABEL_HERE: Final[dict[str, Any]] = {"workers__num_workers": 0, "workers__min_workers": 1, "workers__max_workers": 1}
"""What `ray=False` makes of the pool in a label job's file."""
TRAIN_HERE: Final[dict[str, Any]] = {"workers__num_workers": 0, "workers__min_workers": None}
"""What `ray=False` makes of the workers in a train job's file."""


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A finished run. `best` and `last` are what `load_student`, `evaluate` and a serve config take."""

    folder: str
    """Where everything is: metrics, checkpoints, `report.html`."""
    best: str
    """The folder of the student of the best evaluation, or of the last one where nothing was evaluated; of its teacher
    where the config's `evaluation.best_by` says so."""
    last: str
    """The folder of the student at the end, or of its teacher."""
    figures: Mapping[str, float]
    """What the students reached, as `best.ap`, `last.miou`; shares in [0, 1]."""
    was_finished: bool
    """Whether it was finished before, so that nothing was trained."""
    earlier: tuple["TrainedRun", ...] = ()
    """The method's runs before this one, such as S4M's teacher."""


def label(
    source: Images,
    *,
    sam: str | None = None,
    weights: str | Path | None = None,
    boxes: Boxes | None = None,
    mode: str | None = None,
    points_per_side: int | None = None,
    images_per_batch: int | None = None,
    device: str | None = None,
    stores: str | Path | None = None,
    ray: bool | str | None = None,
    progress: bool = True,
    **changes: Any,
) -> Store:
    """Label images with a Segment Anything model, everything or what lies in boxes; return the store of their masks.

    Call it again to resume after a stop, or once images were added: what the store holds is not labeled again. An image
    that cannot be used is in the store with its `error`.

    Args:
        source: a folder of images; a COCO or Label Studio JSON file, whose images lie in `images` beside it or else in
            its folder; a Parquet manifest; a list of image files (each list has a store of its own, so give a folder
            or a manifest for images that are added to); a store; the `source` table of a config; or the TOML file of
            any job that labels.
        sam: nano (ships with segray), vit_b, vit_l or vit_h, or a model of the Hugging Face Hub or a folder of one.
        weights: path or URI of the checkpoint that vit_b, vit_l and vit_h need.
        boxes: makes one mask for each box, with its class, score and id where it has them, in place of masks of
            everything: a CSV or Parquet table, a COCO JSON file, or (x0, y0, x1, y1) in pixels by the image's name.
            `source` is then the images' folder. Where SAM is unsure the box stays, marked for review.
        mode: exact, as in the SAM paper; or fast, nearly the same masks from fewer prompts. Of images by default fast.
        points_per_side: grid points along each side of an image; 32 by default.
        images_per_batch: images through the encoder at once; 4 by default.
        device: auto, cpu or cuda; auto takes CUDA where present.
        stores: the folder of stores, a path or URI; `out/stores` by default.
        ray: False labels in this process; True on a Ray of this machine, or the one of RAY_ADDRESS; a text is a
            cluster's address. Of images by default False; a file's own `workers` count where it is None or True.
        progress: show a bar on the terminal.
        **changes: any other key of the config, such as `limits__max_pixels=10**9`.

    Returns:
        The store: iterate over it, look an image up by its id, export it.

    Raises:
        ConfigError: an argument that the config does not allow; the message names it.
        SourceError, BackendError, StoreError: the images, the weights or the store cannot be used.
        LabelError: there are no images, or the cluster failed.

    Example:
        >>> store = segray.label("photos/")
        >>> store = segray.label("photos/", sam="vit_h", weights="sam_vit_h_4b8939.pth", ray=True)
        >>> store["a.jpg"].instances.plot("photos/a.jpg")
        >>> store = segray.label("photos/", boxes={"a.jpg": [(10, 10, 200, 120)]})
    """
    given = {
        **({} if sam is None else {"sam": _sam_table(sam)}),
        **_given(sam__weights=weights, sam__device=device, masks__mode=mode, masks__points_per_side=points_per_side),
        **_given(workers__images_per_batch=images_per_batch, stores=stores),
        **changes,
    }
    if _is_config(source):
        if boxes is not None:
            raise ConfigError("segray.label: boxes: the source table of a config file names its boxes; leave them out")
        return _labeled(_label_job(Path(str(source)), given, ray), ray, progress)
    shared = _label_tables(str(stores or STORES), device, on_ray=bool(ray)) | {"sam": _sam_table(sam or "nano")}
    is_nano = (sam or "nano") == "nano"
    if boxes is not None:
        own: dict[str, Any] = {"prompts": NANO_PROMPTS if is_nano else {}}
        own |= {"job": "prompt", "source": prompt_table(source, boxes, shared["stores"])}
        return _labeled(_built(PromptConfig, shared | own, given, "segray.label"), ray, progress)
    own = {"masks": {"mode": "fast", **(NANO_MASKS if is_nano else {})}}
    own |= {"job": "label", "source": source_table(source, shared["stores"])}
    return _labeled(_built(LabelConfig, shared | own, given, "segray.label"), ray, progress)


def predict(
    student: TrainedRun | StudentPredictor | str | Path,
    source: Images,
    *,
    score_threshold: float | None = None,
    sharpen: str | None = None,
    images_per_batch: int | None = None,
    device: str | None = None,
    stores: str | Path | None = None,
    ray: bool | str | None = None,
    progress: bool = True,
    **changes: Any,
) -> Store:
    """Label images with a trained student; return the store of its objects or label maps.

    Call it again to resume after a stop, or once images were added: what the store holds is not labeled again. For a
    few images in memory, `load_student(student).predict(images)` needs no store.

    Args:
        student: a run (its best student), a student, its folder or promoted name.
        source: images, as `label` takes them.
        score_threshold: score below which an instance is left out; 0.5 by default. Label maps are kept whole.
        sharpen: a SAM, as `label` names it, that draws the masks of instances again; where both do not agree the
            student's mask stays, marked for review.
        images_per_batch: images in one pass of the student; 4 by default.
        device: auto, cpu or cuda; auto takes CUDA where present.
        stores: the folder of stores, a path or URI; `out/stores` by default.
        ray: False labels in this process; True on a Ray of this machine, or the one of RAY_ADDRESS; a text is a
            cluster's address. By default False.
        progress: show a bar on the terminal.
        **changes: any other key of a predict job's config, such as `student__predict={"side": 1024}`.

    Returns:
        The store: iterate over it, look an image up by its id, export it.

    Raises:
        ConfigError: an argument that the config does not allow; the message names it.
        SourceError, BackendError, StoreError: the images, the student or the store cannot be used.
        TrainError: nothing was promoted by that name.
        LabelError: there are no images, or the cluster failed.

    Example:
        >>> store = segray.predict("out/runs/promoted/street-v1.json", "photos/")
        >>> store.export("label-studio", "to-correct")
    """
    given = {
        **_given(score_threshold=score_threshold, workers__images_per_batch=images_per_batch, student__device=device),
        **changes,
    }
    tables = _label_tables(str(stores or STORES), device, on_ray=bool(ray))
    tables |= {"job": "predict", "source": source_table(source, tables["stores"]), **_measured_table(student)}
    if sharpen is not None:
        tables["sharpen"] = {"sam": {**_sam_table(sharpen), **_given(device=device)}}
    return _labeled(_built(PredictConfig, tables, given, "segray.predict"), ray, progress)


def export(
    store: Store | str | Path,
    form: str,
    out: str | Path,
    *,
    corrections: Sequence[str] = (),
    crowds: Crowds = "masks",
    max_damaged: float = MAX_DAMAGED,
    overwrite: bool = False,
) -> ExportSummary:
    """Write a store in another tool's format; `store.export(form, out)` does the same.

    Args:
        store: the store, or its folder.
        form: coco, coco-polygons, cvat, yolo, voc, label-studio or png.
        out: the file or folder to write.
        corrections: COCO or Label Studio JSON files that take precedence over the store's masks; the last one wins.
        crowds: meaning of `iscrowd` 1 in COCO files: masks, as CVAT writes it, or leave_out: regions of many objects.
        max_damaged: share of damaged annotations of the corrections beyond which nothing is written.
        overwrite: replace what is there.

    Returns:
        How many images and masks were written, and how many were left out, by reason.

    Raises:
        DamageError: more of the corrections is damaged than `max_damaged`.
        ExportError: no such format, or `out` is there already.
        SourceError, StoreError: a corrections file or the store cannot be read.

    Example:
        >>> segray.export("out/stores/masks-0123456789ab", "yolo", "out/yolo", corrections=["fixed.json"])
    """
    opened = store if isinstance(store, Store) else Store.open(str(store))
    return outputs.export(
        opened,
        form,
        Path(out),
        corrections=corrections,
        crowds=crowds,
        max_damaged=max_damaged,
        overwrite=overwrite,
    )


def train(
    config: str | Path,
    *,
    fresh: bool = False,
    until: str | None = None,
    ray: bool | str | None = None,
    progress: bool = True,
    **changes: Any,
) -> TrainedRun:
    """Train what a config asks for; return its last run.

    Call it again to resume after a stop; a finished run is not trained again.

    Args:
        config: the TOML file of a train job.
        fresh: remove what this config's runs have left, and start over.
        until: the run after which to stop, such as teacher; None trains all.
        ray: False trains in this process (`workers.num_workers = 0`); a text is a cluster's address; None and True
            leave it to the config's `workers`.
        progress: show bars on the terminal.
        **changes: keys of the config, such as `seed=1` or `method__student__schedule__steps=1000`.

    Returns:
        The run: the folders of its students, their figures, the runs before it.

    Raises:
        ConfigError: a key or value that the config does not allow; the message names it.
        SourceError, BackendError, TrainError: data, weights or an earlier run cannot be used.
        StoreError: another process trains one of the runs, or `runs` cannot be written.

    Example:
        >>> run = segray.train("configs/s4m/family-b.toml", seed=1)
        >>> run.figures["best.ap"], segray.load_student(run.best)
    """
    loaded = job_configs.load_as(TrainConfig, Path(config), changes | (TRAIN_HERE if ray is False else {}))
    with torch_threads_kept(), _on(ray), _shown(progress, train_progress()) as show:
        results = train_job.train(loaded, fresh=fresh, until=until, show=show)
    *earlier, last = [_trained(one) for one in results]
    return replace(last, earlier=tuple(earlier))


def evaluate(
    what: TrainedRun | StudentPredictor | Store | str | Path,
    data: Images | None = None,
    *,
    out: str | Path | None = None,
    progress: bool = True,
    **changes: Any,
) -> dict[str, float]:
    """Measure a student, or the labels in a store, on images with known masks.

    Args:
        what: a run (its best student), a student, its folder or promoted name; a store; or the TOML file of an evaluate
            job.
        data: images with masks, as `label` takes them; of a TOML file the file's own by default.
        out: the folder for `figures.json` and `predictions.json`; `out/evaluation` by default.
        progress: show a bar on the terminal.
        **changes: keys of the config, such as `student__max_images=100` or
            `student__device="cpu"`.

    Returns:
        Figures by name, shares in [0, 1]: `ap`, `ap50`, ... of instances, `miou` of label maps, `recall` of masks
        without classes.

    Raises:
        ConfigError: an argument that the config does not allow; the message names it.
        SourceError, BackendError, StoreError, LabelError: data, student or store cannot be used.

    Example:
        >>> segray.evaluate(run, "val/instances.json")["ap"]
    """
    given = {**_given(out=out), **({} if data is None else {"data": source_table(data, STORES)}), **changes}
    if isinstance(what, str | Path) and _is_config(what):
        config = job_configs.load_as(EvaluateConfig, Path(what), given)
    else:
        if data is None:
            raise ConfigError("segray.evaluate: data is missing: give images with masks, such as a COCO file")
        tables = {"job": "evaluate", "out": EVALUATION, **_measured_table(what)}
        config = base.build(EvaluateConfig, base.overridden(tables, given, EvaluateConfig), "segray.evaluate")
    with _shown(progress, counting("evaluating")) as show:
        return evaluate_job.evaluate(config, show).figures()


def load_student(student: str | Path, *, device: str = "auto") -> StudentPredictor:
    """Load a trained student.

    Args:
        student: its folder (`run.best`, `run.last`), or a promoted name's file (`out/runs/promoted/NAME.json`); a path
            or a URI such as s3://bucket/runs/NAME/best.
        device: auto, cpu or cuda; auto takes CUDA where present.

    Raises:
        BackendError: no student is there, it cannot be read, or there is no such device.
        TrainError: nothing was promoted by that name.

    Example:
        >>> segray.load_student(run.best).predict(["a.jpg"])
    """
    where = choose_device(_device(device), "float32", compiled=False)
    return StudentPredictor.load(resolve_student(str(student)), str(where))


def load_sam(
    model: str = "nano", *, weights: str | Path | None = None, device: str = "auto", **changes: Any
) -> SamPredictor:
    """Load a Segment Anything model, for points, boxes and automatic masks.

    Args:
        model: nano (ships with segray), vit_b, vit_l or vit_h, or a model of the Hugging Face Hub or a folder of one.
        weights: path or URI of the checkpoint that vit_b, vit_l and vit_h need.
        device: auto, cpu or cuda; auto takes CUDA where present.
        **changes: other keys of a config's `sam` table, such as `precision="bfloat16"`.

    Raises:
        ConfigError: an argument that the `sam` table does not allow; the message names it.
        BackendError: weights are missing or damaged, or there is no such device.

    Example:
        >>> sam = segray.load_sam("nano")
        >>> sam.predict("a.jpg", boxes=[(10, 10, 200, 120)])
    """
    tables = {**_sam_table(model), "device": device, **_given(weights=weights)}
    settings: Any = base.build(SamConfig, base.overridden(tables, changes, SamConfig), "segray.load_sam")
    masks: dict[str, Any] = NANO_MASKS if model == "nano" else {}
    return SamPredictor(build_sam(settings), MaskGeneration(**masks))


_PACKAGED: Final = ("nano", "vit_b", "vit_l", "vit_h")


def _given(**options: Any) -> dict[str, Any]:
    """Return the options that were given; a path as text."""
    return {name: value for name, value in options.items() if value is not None}


def _is_config(given: object) -> bool:
    return isinstance(given, str | Path) and str(given).endswith(".toml")


def _sam_table(model: str) -> dict[str, Any]:
    """Return the `sam` table of a model's name; what is no path or Hub id is of the segment-anything package."""
    on_hub = model not in _PACKAGED and ("/" in model or Path(model).is_dir())
    return {"kind": "hf" if on_hub else "original", "model": model}


def _label_tables(stores: str, device: str | None, *, on_ray: bool) -> dict[str, Any]:
    """Return what the configs of all jobs that label have in common, with the defaults of this page."""
    cuda = device != "cpu" and torch.cuda.is_available()
    workers = {"num_workers": int(on_ray), "gpus": int(cuda), "threads": torch.get_num_threads()}
    return {"stores": stores, "workers": workers}


def _label_job(file: Path, given: Mapping[str, Any], ray: bool | str | None) -> StageJob:
    """Return the label job of a file, in this process where `ray` is False."""
    config = job_configs.load_label_job(file, {**given, **(LABEL_HERE if ray is False else {})})
    if ray is False and config.workers.threads is None:
        return replace(config, workers=replace(config.workers, threads=torch.get_num_threads()))
    return config


def _built(cls: type[Job], tables: dict[str, Any], given: Mapping[str, Any], name: str) -> Job:
    return base.build(cls, base.overridden(tables, given, cls), name)


def _labeled(config: StageJob, ray: bool | str | None, progress: bool) -> Store:
    """Run a job that labels; return its store."""
    inputs.require_inputs(config)
    with _on(ray), _shown(progress, label_progress("labeling")) as show:
        return Store.open(label_job.label(config, show).store)


def _measured_table(what: TrainedRun | StudentPredictor | Store | str | Path) -> dict[str, Any]:
    match what:
        case Store():
            return {"store": {"uri": what.uri}}
        case TrainedRun():
            return {"student": {"uri": what.best}}
        case StudentPredictor():
            return {"student": {"uri": what.folder}}
        case _:
            return {"student": {"uri": str(what)}}


def _trained(result: train_job.RunResult) -> TrainedRun:
    folder, network = result.folder, result.end.get("network", "student")
    last = folder.student("last", network)
    return TrainedRun(
        folder=folder.uri,
        best=folder.student("best", network) if result.end["best"] else last,
        last=last,
        figures=show_run(folder.runs, folder.name).figures,
        was_finished=result.was_finished,
    )


def _on(ray: bool | str | None) -> AbstractContextManager[None]:
    """Connect to the cluster of an address; jobs connect to any other Ray themselves."""
    if not isinstance(ray, str):
        return nullcontext()
    from segray.jobs.cluster import connected

    return connected(ray)


def _shown(wanted: bool, progress: AbstractContextManager[T]) -> AbstractContextManager[T | None]:
    return progress if wanted else nullcontext()


def _device(name: str) -> Device:
    if name not in get_args(Device):
        raise ConfigError(f"device: got {name!r}, allowed: {', '.join(get_args(Device))}")
    return cast(Device, name)
