"""Which metrics a Grafana dashboard asks for, and which there are: Ray's and segray's own."""

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segray.serving.metrics import DRIFT

_ASKED = re.compile(r"\bray_[a-z0-9_]+")
_OURS = re.compile(r"\b(Counter|Gauge|Histogram)\(\s*\"(segray_[a-z0-9_]+)\"")


def asked(dashboard: Path) -> set[str]:
    """Metrics in the expressions of all panels and variables."""
    content = json.loads(dashboard.read_text(encoding="utf-8"))
    labels = {"ray_io_cluster", "ray_io_group"}
    return {name for each in _expressions(content) for name in _ASKED.findall(each)} - labels


def exported(package: Path) -> set[str]:
    """Return the metrics that exist: those of Ray's own panels, of a package's code, and the drift histograms."""
    drift = {f"ray_{one.name}{suffix}" for one in DRIFT for suffix in _suffixes("Histogram", one.name)}
    return _of_ray() | _of_package(package) | drift


def _expressions(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        yield from (value for key, value in content.items() if key in ("expr", "query") and isinstance(value, str))
        for value in content.values():
            yield from _expressions(value)
    elif isinstance(content, list):
        for each in content:
            yield from _expressions(each)


def _of_ray() -> set[str]:
    found = importlib.util.find_spec("ray.dashboard.modules.metrics.dashboards")
    assert found is not None
    assert found.submodule_search_locations is not None
    folder = Path(found.submodule_search_locations[0])
    texts = [each.read_text(encoding="utf-8") for each in sorted(folder.glob("*_panels.py"))]
    return {name for text in texts for name in _ASKED.findall(text)}


def _of_package(package: Path) -> set[str]:
    """Only modules that export through Ray: what prometheus_client has is read where it is served."""
    names = set()
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "ray.util.metrics" in text or "ray.util import metrics" in text:
            for kind, name in _OURS.findall(text):
                names |= {f"ray_{name}{suffix}" for suffix in _suffixes(kind, name)}
    return names


def _suffixes(kind: str, name: str) -> tuple[str, ...]:
    if kind == "Histogram":
        return ("_bucket", "_sum", "_count")
    return ("_total",) if kind == "Counter" and not name.endswith("_total") else ("",)
