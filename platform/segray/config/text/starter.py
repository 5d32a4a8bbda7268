"""Starter configs: the common keys of a config class as TOML, each with a comment, required ones with a value.

Knows the names of classes and keys that are common, and no class itself: all else comes from the classes. A class that
is not named here shows all of its keys, so that new jobs, methods, formats and models need no line.
"""

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from segray.config import schema
from segray.config.schema import MISSING, Setting
from segray.config.text.toml import literal
from segray.config.uris import StoreUri

COMMON: Final[Mapping[str, Sequence[str]]] = {
    "StageJob": ("job", "stores", "limits", "workers", "cost", "sample", "retry_refused"),
    "LabelWorkers": ("num_workers", "max_workers", "gpus", "cpus", "images_per_batch", "images_per_part"),
    "SamWorkers": (),
    "SamSettings": ("kind", "device", "precision"),
    "MaskGeneration": (
        *("mode", "points_per_side", "pred_iou_thresh", "stability_score_thresh", "box_nms_thresh"),
        *("crop_n_layers", "min_mask_region_area"),
    ),
    "TaggerConfig": ("encoder", "side", "steps", "batch", "learning_rate"),
    "EvaluateConfig": ("job", "student", "data", "out"),
    "ServeConfig": ("job", "keys", "student", "clicks", "limits", "host", "port", "page"),
    "StudentServing": ("uri", "device", "precision", "batching", "replicas"),
    "RequestLimits": ("max_body_mb", "max_megapixels", "max_images", "timeout_s", "max_queued"),
    "Replicas": ("min", "max", "cpus", "gpus"),
    "TrainSettings": ("data", "runs", "student", "view", "seed", "workers", "intervals", "tracking"),
    "TrainingData": ("labeled", "unlabeled", "validation"),
    "TrainWorkers": ("num_workers", "gpus", "cpus", "num_loaders", "max_failures"),
    "WeakView": ("canvas_hw", "min_scale", "max_scale", "flip"),
    "Schedule": (
        *("steps", "labeled_batch", "unlabeled_batch", "learning_rate", "backbone_factor", "clip_norm", "warmup"),
        "precision",
    ),
    "InstanceStudentConfig": ("start", "num_queries", "predict"),
    "SemanticStudentConfig": ("background", "predict"),
    "Mask2Former": ("kind", "backbone"),
    "Fpn": ("kind", "backbone"),
    "StudentRun": ("schedule", "pseudo_labels", "refinement", "arp", "unlabeled_weight", "ema"),
    "PseudoLabels": ("score_threshold", "max_overlap"),
    "PointRefinement": ("kind", "num_points", "distribution"),
    "Arp": ("mode", "group"),
    "UniMatch": (
        *("kind", "schedule", "streams", "threshold", "unlabeled_weight", "ramp", "label_smoothing"),
        *("ema_half_life", "group", "zero_shot"),
    ),
}
"""The keys that a class defines and that most people set, by the class's name."""

PLACEHOLDERS: Final[Mapping[str, Any]] = {
    "annotations": "instances.json",
    "model": "facebook/sam2.1-hiera-large",
    "out": "out/evaluation",
    "uri": "images",
}
"""Values of required keys by name, where the type does not say enough."""

_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"`(])")
_WIDTH: Final = 118


def starter(cls: type, chosen: Mapping[str, Any]) -> str:
    """Return a starter config of a class: required and chosen keys with a value, the other common keys as comments.

    A line such as `#seed = 0` shows a default; without its `#` it is a setting, and the config still loads.

    Args:
        cls: the config class of a job.
        chosen: values by dotted path; the path of a table's `kind` chooses its class.
    """
    return "\n".join(_table(cls, "", chosen)).strip() + "\n"


def tables(cls: type, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the required keys of a class with their placeholders, as the tables of a file."""
    return {
        one.name: _value(one, one.name, chosen)
        for one in schema.settings(cls)
        if one.default is MISSING or one.name == "kind"
    }


def is_common(cls: type, name: str) -> bool:
    """Return whether the class that defines a key calls it common, by `COMMON` or by not standing there."""
    owner = next(one for one in cls.__mro__ if name in inspect.get_annotations(one))
    return name in COMMON.get(owner.__name__, (name,))


def _table(cls: type, path: str, chosen: Mapping[str, Any], kinds: Sequence[str] = ()) -> Iterator[str]:
    """Yield the lines of a table: first its values, then the tables below it. `kinds` are those it could be of."""
    below = []
    for setting in sorted(schema.settings(cls), key=_rank):
        key = f"{path}.{setting.name}".lstrip(".")
        if not _is_shown(cls, setting, key, chosen):
            continue
        if _is_section(setting, key, chosen):
            below.append((setting, key))
            continue
        yield from _comment(setting)
        yield _line(setting, key, chosen) + (_or(kinds, cls) if setting.name == "kind" else "")
    for setting, key in below:
        yield ""
        yield from _comment(setting)
        yield f"[{key}]"
        yield from _table(_chosen_class(setting, key, chosen), key, chosen, schema.kinds(setting.hint))


def _rank(setting: Setting) -> tuple[bool, bool]:
    """Return what sorts a table's keys: what it is, then what must be given, then the rest."""
    return setting.name not in ("job", "kind"), setting.default is not MISSING


def _or(kinds: Sequence[str], cls: type) -> str:
    others = [literal(kind) for kind in kinds if kind != schema.kind(cls)]
    return f"  # or {', '.join(others)}" if others else ""


def _is_shown(cls: type, setting: Setting, key: str, chosen: Mapping[str, Any]) -> bool:
    is_chosen = any(one == key or one.startswith(f"{key}.") for one in chosen)
    return setting.default is MISSING or is_chosen or is_common(cls, setting.name)


def _is_section(setting: Setting, key: str, chosen: Mapping[str, Any]) -> bool:
    """Return whether a key is a table that can stand in the file without changing what it comes to."""
    if not schema.classes(setting.hint):
        return False
    if setting.default is MISSING or any(one.startswith(f"{key}.") for one in chosen):
        return True
    kept = type(setting.default)
    return dataclasses.is_dataclass(kept) and not _has_required(kept) and kept() == setting.default


def _has_required(cls: type) -> bool:
    return any(one.default is MISSING for one in schema.settings(cls))


def _chosen_class(setting: Setting, key: str, chosen: Mapping[str, Any]) -> type:
    """Return the class of a table: of the chosen kind, else the default's, else the first."""
    allowed = schema.classes(setting.hint)
    kind = chosen.get(f"{key}.kind")
    if kind is not None:
        return next(one for one in allowed if schema.kind(one) == kind)
    return type(setting.default) if dataclasses.is_dataclass(setting.default) else allowed[0]


def _line(setting: Setting, key: str, chosen: Mapping[str, Any]) -> str:
    if setting.name == "kind" or setting.default is MISSING or key in chosen:
        return f"{setting.name} = {literal(_value(setting, key, chosen))}"
    shown = setting.default
    if shown is None and (allowed := schema.classes(setting.hint)):
        shown = _example(allowed[0], key, chosen)
    return f"#{setting.name} = {literal(shown)}"


def _example(cls: type, key: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table that is off by default: what it requires, and its plain values."""
    plain = {
        one.name: one.default
        for one in schema.settings(cls)
        if one.default not in (MISSING, None) and not dataclasses.is_dataclass(one.default)
    }
    required = {
        one.name: _value(one, f"{key}.{one.name}", chosen) for one in schema.settings(cls) if one.default is MISSING
    }
    return {one.name: (required | plain)[one.name] for one in schema.settings(cls) if one.name in required | plain}


def _value(setting: Setting, key: str, chosen: Mapping[str, Any]) -> Any:
    """Return the chosen value of a key, or one that its type allows."""
    if key in chosen:
        return chosen[key]
    if setting.default is not MISSING:
        return setting.default
    if schema.classes(setting.hint):
        return tables(_chosen_class(setting, key, chosen), {})
    return _placeholder(setting.name, setting.hint)


def _placeholder(name: str, hint: Any) -> Any:
    if hint == StoreUri:
        return "out/stores/STORE"
    if name in PLACEHOLDERS:
        return PLACEHOLDERS[name]
    if get_origin(hint) is Annotated:
        return _placeholder(name, get_args(hint)[0])
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    if get_origin(hint) is tuple:
        return ["cat", "dog"] if name == "classes" else [_placeholder(name, get_args(hint)[0])] * 2
    return {int: 1, float: 0.5, bool: False}.get(hint, f"out/{name}")


def _comment(setting: Setting) -> Iterator[str]:
    """Yield the first sentence of a key's description, and the values that it allows, where they have names."""
    if setting.name in ("job", "kind"):
        return
    sentence = _SENTENCE.split(setting.description)[0]
    names = _names(setting)
    allowed = f"One of {', '.join(map(literal, names))}." if len(names) > 1 else ""
    text = " ".join(part for part in (sentence, allowed) if part)
    yield from (f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_on_hyphens=False, break_long_words=False))


def _names(setting: Setting) -> Sequence[Any]:
    hint = setting.hint
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return get_args(hint) if get_origin(hint) is Literal else ()
