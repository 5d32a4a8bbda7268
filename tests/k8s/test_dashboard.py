import json
from pathlib import Path

import pytest

from k8s.check.dashboard import asked, exported

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "k8s" / "base" / "dashboards" / "segray.json"


@pytest.fixture(scope="module")
def there():
    return exported(ROOT / "platform" / "segray")


def test_the_dashboard_asks_only_for_metrics_that_there_are(there):
    assert asked(DASHBOARD) - there == set()


@pytest.mark.parametrize("name", ["ray_segray_label_image_total", "ray_serve_http_latency", "ray_node_gpu"])
def test_a_metric_that_nobody_exports_is_found(there, tmp_path, name):
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    board["panels"][1]["targets"][0]["expr"] = f"rate({name}[5m])"
    (tmp_path / "board.json").write_text(json.dumps(board), encoding="utf-8")
    assert asked(tmp_path / "board.json") - there == {name}


@pytest.mark.parametrize(
    "name",
    [
        "ray_segray_label_images_total",
        "ray_segray_label_refused_total",
        "ray_segray_train_loss",
        "ray_segray_train_step_seconds",
        "ray_serve_http_request_latency_ms_bucket",
        "ray_node_gpus_utilization",
        "ray_resources",
    ],
)
def test_the_dashboard_shows(name):
    assert name in asked(DASHBOARD)


def test_panels_do_not_overlap():
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in board["panels"])
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
