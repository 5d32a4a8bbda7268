"""A cluster that grows from nothing for a label job and shrinks after: Ray's own autoscaler over a fake provider."""

import json
import socket
import time

import pytest
from ray._raylet import GcsClient

from segray.testing import write_images

PORT = 6379
"""Ray's fake provider starts nodes that look for their head here, and nowhere else."""
WORKERS = 2
IDLE_MINUTES = 0.05
CONFIG = {
    "cluster_name": "fake",
    "max_workers": WORKERS,
    "idle_timeout_minutes": IDLE_MINUTES,
    "upscaling_speed": 10,
    "provider": {
        "type": "fake_multinode",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    },
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "max_workers": 0, "node_config": {}},
        "worker": {"resources": {"CPU": 1}, "min_workers": 0, "max_workers": WORKERS, "node_config": {}},
    },
    "auth": {},
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "initialization_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "rsync_exclude": [],
    "rsync_filter": [],
}


@pytest.fixture(scope="module")
def address(head, tmp_path_factory):
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.skip(f"port {PORT} is taken, and Ray's fake provider knows no other")
    config = tmp_path_factory.mktemp("autoscaler") / "cluster.yaml"
    config.write_text(json.dumps(CONFIG))
    arguments = [f"--port={PORT}", f"--autoscaling-config={config}", "--num-cpus=0", "--include-dashboard=false"]
    with head(*arguments, RAY_FAKE_CLUSTER="1", AUTOSCALER_UPDATE_INTERVAL_S="1") as process:
        until = time.monotonic() + 240
        while busy_nodes(f"127.0.0.1:{PORT}", default=None) is None:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
        yield f"127.0.0.1:{PORT}"


def busy_nodes(address, default=0):
    """How many live nodes can work."""
    try:
        nodes = GcsClient(address=address).get_all_node_info(timeout=5)
    except Exception:  # Of many kinds, none of them public, until the head is up.
        return default
    return sum(node.state == 0 and node.resources_total.get("CPU", 0) > 0 for node in nodes.values())


@pytest.mark.slow
def test_a_label_job_grows_the_cluster_from_nothing_and_leaves_it_to_shrink(address, start_driver, tmp_path):
    write_images(tmp_path / "images", 40)
    driver = start_driver(tmp_path / "images", tmp_path / "stores", 0.2, address=address, cpus=1)
    begun, events = driver.next(), driver.rest()
    assert events[-1] == {"done": True}
    assert sum(event.get("images", 0) for event in events) == begun["pending"] == 40
    assert begun["nodes"] == 0
    assert max(event.get("nodes", 0) for event in events) == WORKERS
    until = time.monotonic() + 400
    while busy_nodes(address) > 0:
        assert time.monotonic() < until, "the cluster did not shrink"
        time.sleep(0.5)
