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
from segray.jobs.rayjob import render
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


@pytest.mark.parametrize("cluster", ["gpu", "cpu"])
@pytest.mark.parametrize("kind", ["label", "evaluate"])
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
    text = render(
        submission("label", name="mine"), image="registry/x:1", namespace="team", max_replicas={"gpu-spot": 2, "cpu": 0}
    )
    settings, job = objects(text)
    assert (job["metadata"]["name"], settings["metadata"]["name"]) == ("mine", "mine-config")
    assert job["metadata"]["namespace"] == settings["metadata"]["namespace"] == "team"
    assert {container["image"] for pod in pods(job) for container in pod["containers"]} == {"registry/x:1"}
    groups = worker_groups(job)
    assert (groups["gpu-spot"]["maxReplicas"], groups["cpu"]["maxReplicas"]) == (2, 0)
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
        render(submission("label"), max_replicas={"tpu": 1})


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
    expected = render(job, max_replicas={"gpu-spot": 1})
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
