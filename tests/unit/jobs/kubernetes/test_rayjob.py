import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from segray import cli
from segray.errors import ConfigError
from segray.jobs.kubernetes.plan import WorkForecast
from segray.jobs.kubernetes.rayjob import ClusterOptions, render
from segray.jobs.submission import Submission

CONFIGS = {
    "label": 'job = "label"\nstores = "s3://b/stores"\n[source]\nkind = "folder"\nuri = "s3://b/images"\n',
    "evaluate": 'job = "evaluate"\nstudent = { uri = "s3://b/one", device = "cuda" }\nout = "s3://b/out"\n'
    '[data]\nkind = "coco"\nuri = "s3://b/images"\nannotations = "s3://b/a.json"\n',
}


@pytest.fixture
def submission(tmp_path):
    def load(kind, *overrides, name=None):
        path = tmp_path / f"{kind} of mine.toml"
        path.write_text(CONFIGS[kind])
        return Submission.load(kind, path, overrides, name)

    return load


def objects(text):
    settings, job = yaml.safe_load_all(text)
    assert (settings["kind"], job["kind"]) == ("ConfigMap", "RayJob")
    return settings, job


def worker_groups(job):
    return {one["groupName"]: one for one in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]}


def pods(job):
    cluster = job["spec"]["rayClusterSpec"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


@pytest.mark.parametrize(("kind", "cluster"), [("label", "gpu"), ("label", "cpu"), ("evaluate", "gpu")])
def test_the_command_finds_its_config_on_every_pod(submission, kind, cluster):
    job = submission(kind, "sample=3") if kind == "label" else submission(kind)
    settings, rendered = objects(render(job, cluster=cluster))
    assert settings["metadata"]["namespace"] == rendered["metadata"]["namespace"]
    assert rendered["metadata"]["name"] == job.name
    module, path, *overrides = shlex.split(rendered["spec"]["entrypoint"])[2:]
    assert (module, tuple(overrides)) == (f"jobs.{kind}", job.overrides)
    assert tomllib.loads(settings["data"][Path(path).name]) == tomllib.loads(CONFIGS[kind])
    for pod in pods(rendered):
        (volume,) = (
            one for one in pod["volumes"] if one.get("configMap", {}).get("name") == settings["metadata"]["name"]
        )
        mounts = {one["mountPath"] for one in pod["containers"][0]["volumeMounts"] if one["name"] == volume["name"]}
        assert mounts == {str(Path(path).parent)}


def test_what_computes_in_its_own_command_gets_a_machine_for_it(submission):
    _, job = objects(render(submission("evaluate")))
    assert (job["spec"]["entrypointNumCpus"], job["spec"]["entrypointNumGpus"]) == (1, 1)
    assert "component: label" not in yaml.safe_dump(job)
    _, job = objects(render(submission("label")))
    assert not {"entrypointNumCpus", "entrypointNumGpus"} & set(job["spec"])


def test_options_reach_all_that_they_mean(submission):
    options = ClusterOptions(image="registry/x:1", namespace="team", max_replicas={"gpu-spot": 2, "cpu": 1})
    text = render(submission("label", name="mine"), options=options)
    settings, job = objects(text)
    assert (job["metadata"]["name"], settings["metadata"]["name"]) == ("mine", "mine-config")
    assert job["metadata"]["namespace"] == settings["metadata"]["namespace"] == "team"
    assert {container["image"] for pod in pods(job) for container in pod["containers"]} == {"registry/x:1"}
    groups = worker_groups(job)
    assert (groups["gpu-spot"]["maxReplicas"], groups["cpu"]["maxReplicas"]) == (2, 1)
    assert all(one["minReplicas"] <= one["replicas"] <= one["maxReplicas"] for one in groups.values())
    untouched = worker_groups(objects(render(submission("label")))[1])
    assert groups["gpu-on-demand"]["maxReplicas"] == untouched["gpu-on-demand"]["maxReplicas"] > 0


def test_variables_reach_all_of_the_jobs_processes(submission):
    job = replace(submission("label"), variables={"NCCL_DEBUG": "INFO", "N": "1"})
    (_, rendered), (_, plain) = objects(render(job)), objects(render(submission("label")))
    assert yaml.safe_load(rendered["spec"]["runtimeEnvYAML"]) == {"env_vars": {"NCCL_DEBUG": "INFO", "N": "1"}}
    assert "runtimeEnvYAML" not in plain["spec"]


def test_an_unknown_worker_group_names_those_there_are(submission):
    with pytest.raises(ConfigError, match=r"there are .*gpu-spot"):
        render(submission("label"), options=ClusterOptions(max_replicas={"tpu": 1}))


GPUS = ("workers.gpus=1", "workers.cpus=8")


@pytest.mark.parametrize(
    ("overrides", "capacity", "replicas"),
    [
        ((*GPUS, "workers.num_workers=500"), "both", {"gpu-spot": 500, "gpu-on-demand": 500}),
        ((*GPUS, "workers.num_workers=500"), "spot", {"gpu-spot": 500, "gpu-on-demand": 0}),
        ((*GPUS, "workers.num_workers=500"), "on-demand", {"gpu-spot": 0, "gpu-on-demand": 500}),
        (("workers.gpus=0.5", "workers.max_workers=5"), "both", {"gpu-spot": 3, "gpu-on-demand": 3}),
        (("workers.cpus=2", "workers.max_workers=7"), "both", {"cpu": 4}),
    ],
)
def test_there_are_as_many_pods_as_the_workers_need(submission, overrides, capacity, replicas):
    _, job = objects(render(submission("label", *overrides), options=ClusterOptions(capacity=capacity)))
    found = {name: group["maxReplicas"] for name, group in worker_groups(job).items()}
    assert {name: found[name] for name in replicas} == replicas


def test_head_deadline_and_nodes_are_as_asked(submission):
    options = ClusterOptions(
        head_cpus=4, head_memory_gib=32, deadline_hours=36, gpu_type="NVIDIA-L4", node_selector={"pool": "segmentation"}
    )
    _, job = objects(render(submission("label", *GPUS), options=options))
    head, *workers = pods(job)
    assert head["containers"][0]["resources"]["requests"] == {"cpu": "4", "memory": "32768Mi"}
    assert job["spec"]["activeDeadlineSeconds"] == 36 * 3600
    assert [pod["nodeSelector"] for pod in workers] == [
        {"pool": "segmentation"} | gpu for gpu in ({}, *[{"nvidia.com/gpu.product": "NVIDIA-L4"}] * 2)
    ]


FORECAST = WorkForecast(images=100_000_000, worker_hours=20_000)


@pytest.mark.parametrize(
    ("overrides", "cluster", "options", "message"),
    [
        (GPUS, "cpu", {}, "1 workers of 8 CPUs, 1 GPUs: .* room for 0 .*cpu: 2 pods of 2 CPUs, 0 GPUs"),
        (("workers.gpus=8",), "gpu", {}, "1 workers of 1 CPUs, 8 GPUs: .* room for 0"),
        ((*GPUS, "workers.num_workers=9"), "gpu", {"max_replicas": {"gpu-spot": 4, "gpu-on-demand": 2}}, "room for 6"),
        ((*GPUS, "workers.memory_gib=40"), "gpu", {}, "room for 0 .*33.6 GiB"),
        ((*GPUS, "workers.num_workers=500"), "gpu", {"forecast": FORECAST}, "24 h is below the forecast: .* take 40 h"),
        (
            (*GPUS, "workers.num_workers=500"), "gpu", {"forecast": FORECAST, "deadline_hours": 45},
            r"head's 8 GiB are too small .* --head-memory-gib 25\.5",
        ),
    ],
)  # fmt: skip
def test_what_the_cluster_can_never_run_is_refused_with_the_numbers(submission, overrides, cluster, options, message):
    with pytest.raises(ConfigError) as refused:
        render(submission("label", *overrides), cluster=cluster, options=ClusterOptions(**options))
    assert re.search(message, str(refused.value))


def test_a_forecast_that_fits_is_no_problem(submission):
    options = ClusterOptions(forecast=FORECAST, deadline_hours=48, head_memory_gib=32)
    assert render(submission("label", *GPUS, "workers.num_workers=500"), options=options)


@pytest.fixture
def segray(monkeypatch, capsys):
    """`segray(*arguments)` is the command's (exit status, stdout, stderr), in this process."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["segray", "submit", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return run


def test_the_command_prints_it_or_writes_it(submission, segray, tmp_path):
    job = submission("label")
    expected = render(job, options=ClusterOptions(max_replicas={"gpu-spot": 1}))
    assert segray("label", job.config, "--k8s", "--max-replicas", "gpu-spot=1") == (0, expected, "")
    written = segray("label", job.config, "--k8s", "-o", tmp_path / "job.yaml", "--max-replicas", "gpu-spot=1")
    assert written == (0, "", "")
    assert (tmp_path / "job.yaml").read_text() == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --address"),
        (["--k8s", "--address", "http://192.0.2.1:1"], "give --address"),
        (["--k8s", "--max-replicas", "gpu-spot"], "give GROUP=N"),
        (["--k8s", "--node-selector", "pool"], "give LABEL=VALUE"),
        (["--k8s", "--forecast", "/nowhere.json"], "sample = N"),
        (["--k8s", "workers.gpus=8"], "room for 0"),
        (["--k8s", "masks.points_per_side=0"], "masks.points_per_side"),
        (["--k8s", "--name", "No Name"], "No Name"),
    ],
)
def test_what_cannot_be_submitted_is_said(submission, segray, arguments, message):
    status, _, err = segray("label", submission("label").config, *arguments)
    assert status == 2
    assert message in err


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_takes_it(submission, tmp_path):
    (tmp_path / "job.yaml").write_text(render(submission("label")))
    (tmp_path / "kustomization.yaml").write_text("resources: [job.yaml]\n")
    done = subprocess.run(["kubectl", "kustomize", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(yaml.safe_load_all(done.stdout))) == 2
