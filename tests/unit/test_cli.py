import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import onnx
import pytest

from segray.testing import write_coco, write_images, write_training

# Whoever starts tests in the background leaves them deaf to ctrl-C, and children would be too.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[2]
BAD = """
job = "label"
[source]
kind = "coco"
uri = "images"
[masks]
points_per_side = 0
mode = "slow"
[colours]
red = 1
"""


def segray(*arguments, columns=200):
    return subprocess.run(
        [sys.executable, "-m", "segray.cli", *map(str, arguments)],
        env={"PYTHONPATH": str(ROOT / "platform"), "PATH": "", "COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_check_lists_every_mistake(tmp_path):
    (tmp_path / "bad.toml").write_text(BAD)
    done = segray("check", tmp_path / "bad.toml")
    assert done.returncode == 2
    assert "5 problems" in done.stderr
    for path in ("source.annotations", "stores", "masks.points_per_side", "masks.mode", "colours"):
        assert f"  {path}: " in done.stderr


@pytest.mark.parametrize(
    ("config", "override", "job"),
    [
        ("tiny/label.toml", "masks.points_per_side=8", "a label job"),
        ("evaluate/family-b.toml", "out=elsewhere", "an evaluate job"),
    ],
)
def test_check_says_what_a_good_config_is(config, override, job):
    done = segray("check", "--no-data", ROOT / "configs" / config, override)
    assert done.returncode == 0
    assert job in done.stdout


def test_check_needs_neither_torch_nor_ray(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['ray'] = None;"
        f"sys.argv = ['segray', 'check', {str(ROOT / 'configs' / 'label' / 'folder.toml')!r}, 'source.uri={tmp_path}'];"
        "from segray.cli import main; main()"
    )
    (tmp_path / "a.jpg").touch()
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "platform")}, check=False)
    assert done.returncode == 0


def test_a_starter_needs_neither_torch_nor_ray_nor_any_file(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['ray'] = None; from segray.cli import main;"
        "main(['init', 'train', '--method', 's4m'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "platform")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "my.toml").write_text(done.stdout)
    shown = segray("config", "show", tmp_path / "my.toml", "seed=7")
    assert shown.returncode == 0, shown.stderr
    assert "seed = 7\n" in shown.stdout
    assert '\nmode = "dynamic"  # default\n' in shown.stdout


@pytest.mark.parametrize(("damaged", "status"), [(0, 0), (1, 3)])
def test_check_counts_what_is_left_out_and_stops_at_damage(tmp_path, damaged, status):
    source = write_coco(tmp_path, 4)
    document = json.loads(Path(source.annotations).read_text())
    document["annotations"][0]["iscrowd"] = "true"
    for annotation in document["annotations"][1 : 1 + damaged]:
        annotation["segmentation"] = []
    Path(source.annotations).write_text(json.dumps(document))
    data = [f"data.uri={source.uri}", f"data.annotations={source.annotations}"]
    done = segray("check", ROOT / "configs/evaluate/family-b.toml", *data, "student.uri=anywhere")
    assert done.returncode == status, done.stderr
    assert '1 of 6 annotations has iscrowd 1 and is left out; `crowds = "masks"` takes them' in done.stdout
    assert ("max_damaged allows 5.0%" in done.stderr) == bool(damaged)


@pytest.mark.parametrize(("folder", "why"), [("empty", "holds no images"), ("nowhere", "no such file or folder")])
def test_images_that_are_not_there_are_told_before_anything_starts(tmp_path, folder, why):
    (tmp_path / "empty").mkdir()
    stores = tmp_path / "stores"
    arguments = [ROOT / "configs" / "label" / "folder.toml", f"source.uri={tmp_path / folder}", f"stores={stores}"]
    for command, status in (("check", 2), ("label", 1)):
        done = segray(command, *arguments)
        assert done.returncode == status
        assert f"source: {tmp_path / folder}: " in done.stderr
        assert why in done.stderr
    assert not stores.exists()


def test_check_names_all_the_data_of_a_training_that_is_not_there(tmp_path):
    config = write_training(tmp_path)
    assert segray("check", config).returncode == 0
    done = segray("check", config, "data.labeled.annotations=a.json", "data.validation.uri=b")
    assert done.returncode == 2
    assert "2 problems" in done.stderr
    assert "  data.labeled: a.json: there is no" in done.stderr
    assert "  data.validation: b: there is no" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["check", "nowhere.toml"], 2, "nowhere.toml: cannot be read"),
        (["dance"], 2, "dance"),
        (["check"], 2, "config"),
        (["export", "nowhere", "--format", "coco", "--out", "x"], 1, "nowhere"),
        (["report", "nowhere"], 1, "nowhere"),
        (["store", "ls", "nowhere"], 2, "nowhere: there is no such folder"),
        (["store", "compact", "nowhere"], 1, "nowhere"),
        (["store", "rm", "nowhere", "--yes"], 1, "nowhere"),
        (["train", "nowhere.toml"], 2, "nowhere.toml: cannot be read"),
        (
            ["train", ROOT / "configs" / "tiny" / "label.toml"],
            2,
            "describes a label job, this command needs one of kind 'train'",
        ),
        (["evaluate", ROOT / "configs" / "tiny" / "label.toml"], 2, "this command needs one of kind 'evaluate'"),
        (["runs", "show", "nowhere/run"], 1, "there is no such run"),
        (["runs", "compare", "here/run", "there/run"], 2, "are not in one folder of runs"),
        (["promote", "nowhere/run", "name"], 1, "there is no such run"),
        (["runs", "rollback", "nowhere", "name"], 1, "nothing was promoted as 'name'"),
        (["split", "nowhere.json", "--share", "0.5"], 1, "nowhere.json"),
        (["split", "nowhere.json"], 2, "--holdout"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(arguments, status, message):
    done = segray(*arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_told_before_ray_is_loaded():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code = (
            "import sys; sys.modules['torch'] = sys.modules['ray'] = None;"
            f"sys.argv = ['segray', 'serve', {str(ROOT / 'configs' / 'serve' / 'nano.toml')!r}, 'port={port}'];"
            "from segray.cli import main; main()"
        )
        env = {"PYTHONPATH": str(ROOT / "platform")}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "port=NUMBER" in done.stderr


def test_serving_without_ray_loads_none_and_ends_when_told():
    code = (
        "import sys; sys.modules['ray'] = None;"
        f"sys.argv = ['segray', 'serve', '--no-ray', {str(ROOT / 'configs' / 'serve' / 'nano.toml')!r}, 'port=0'];"
        "from segray.cli import main; main()"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT / "platform"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) as running:
        address = next(line.split()[1] for line in running.stdout if line.startswith("endpoint:"))
        assert httpx.get(address.replace("/v1/segment", "/healthz")).status_code == 200
        running.terminate()
        assert "in-flight requests are finished" in running.stdout.read()
    assert running.returncode == 0


# --------------------------------------------------------------------------------------------- from labels to a student


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where two runs have been trained by the command: S4M's teacher and student."""
    folder = tmp_path_factory.mktemp("home")
    done = segray("train", write_training(folder), "intervals.log_every=2")
    assert done.returncode == 0, done.stderr
    assert "s4m-student-" in done.stdout
    return folder


def run_of(home, name):
    return next((home / "runs").glob(f"s4m-{name}-*"))


def said(*arguments, columns=200):
    done = segray(*arguments, columns=columns)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_same_command_says_that_the_run_is_finished(home):
    told = said("train", home / "train.toml", columns=60)
    assert "finished before" in told.replace("\n", " ")
    assert f"student: {run_of(home, 'student')}\n" in told


@pytest.mark.parametrize(
    ("override", "status", "message"),
    [
        ("method.student.schedule.accumulate=2", 2, "in groups of 4: give a multiple of 8"),
        ("workers.num_workers=3", 2, "teacher.schedule.labeled_batch: 4 images cannot be shared by 3 workers"),
        ("method.student.ema.burn_in=2", 2, "method.student.ema.burn_in"),
        ("intervals.checkpoint_every=3", 0, "finished before"),
        ("data.labeled.annotations=nowhere.json", 1, "nowhere.json"),
    ],
)
def test_training_ends_with_a_status(home, override, status, message):
    done = segray("train", home / "train.toml", override)
    assert done.returncode == status
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def interrupted(job, folder, *overrides):
    """The arguments of a command that has written its first lines when ctrl-C comes, and the file that shows it."""
    if job == "train":
        return ["train", write_training(folder, steps=100_000), *overrides], "runs/*/metrics.jsonl"
    write_images(folder / "images", 500)
    places = [f"source.uri={folder / 'images'}", f"stores={folder / 'stores'}", "workers.images_per_part=2"]
    return ["label", ROOT / "configs" / "label" / "folder.toml", *places, *overrides], "stores/*/parts/*"


@pytest.mark.slow  # three starts of the command, two of them with a Ray
@pytest.mark.parametrize(
    ("job", "override"), [("label", "seed=0"), ("train", "workers.num_workers=0"), ("train", "workers.num_workers=1")]
)
def test_ctrl_c_ends_a_job_in_words(tmp_path, job, override):
    arguments, sign = interrupted(job, tmp_path, override)
    running = subprocess.Popen(
        [sys.executable, "-m", "segray.cli", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "platform")},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while running.poll() is None and not list(tmp_path.glob(sign)):
            time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        told = running.communicate(timeout=120)[1]
    finally:
        running.kill()
    assert running.returncode == 130, told
    assert "the same command goes on" in told
    assert "Traceback" not in told


def test_evaluate_leaves_figures_and_predictions(home):
    config = home / "evaluate.toml"
    world = home / "validation"
    config.write_text(
        f'job = "evaluate"\nstudent.uri = "{run_of(home, "student") / "last"}"\nout = "{home / "measured"}"\n'
        f'[data]\nkind = "coco"\nuri = "{world / "images"}"\nannotations = "{world / "instances.json"}"\n'
    )
    assert "ap50" in said("evaluate", config)
    figures = json.loads((home / "measured" / "figures.json").read_text())
    end = json.loads((run_of(home, "student") / "finished.json").read_text())
    assert figures["images"] == 4
    assert figures["ap"] == pytest.approx(end["last"]["ap"])
    assert isinstance(json.loads((home / "measured" / "predictions.json").read_text()), list)


def test_evaluate_knows_promoted_names_and_other_ways_to_predict(home):
    said("promote", run_of(home, "teacher"), "measured", "--which", "last")
    name, out = home / "runs" / "promoted" / "measured.json", home / "named"
    said(
        "evaluate",
        home / "evaluate.toml",
        f"student.uri={name}",
        f"out={out}",
        "student.predict.top_k=1",
        "student.predict.side=64",
    )
    figures = json.loads((out / "figures.json").read_text())
    assert figures["student"] == str(run_of(home, "teacher") / "last")
    assert len(json.loads((out / "predictions.json").read_text())) <= figures["images"]


def test_a_student_becomes_onnx_of_the_size_it_predicts_at(home):
    out = home / "student.onnx"
    said("runs", "onnx", home / "runs" / "s4m-s", "--which", "last", "--out", out)
    (images,) = onnx.load(out).graph.input
    assert [one.dim_value for one in images.type.tensor_type.shape.dim][1:] == [3, 64, 64]


def test_runs_are_listed_shown_compared_and_reported(home):
    teacher, student = run_of(home, "teacher"), run_of(home, "student")
    assert {teacher.name, student.name} <= set(said("runs", "ls", home / "runs").replace("│", " ").split())
    shown = said("runs", "show", student)
    assert shown.index(f'"name": "{student.name}"') < shown.index(f'"name": "{teacher.name}"')
    compared = said("runs", "compare", teacher, student, "--out", home / "both.html")
    assert "settings.unlabeled_weight" in compared
    assert f"first: {teacher}\nsecond: {student}\n" in compared
    assert "<html" in (home / "both.html").read_text()
    said("runs", "report", student, "--out", home / "one.html")
    assert "<html" in (home / "one.html").read_text()


def test_promote_and_rollback(home):
    teacher, student = run_of(home, "teacher"), run_of(home, "student")
    said("promote", teacher, "live", "--which", "last")
    assert f"{student.name}/best" in said("promote", student, "live")
    assert student.name in said("runs", "names", home / "runs")
    assert f"{teacher.name}/last" in said("runs", "rollback", home / "runs", "live")
    assert segray("runs", "rollback", home / "runs", "live").returncode == 1


def test_splits_are_nested(tmp_path):
    source, out = write_coco(tmp_path, 12), tmp_path / "out"
    shares = ["--share", "0.25", "--share", "0.5"]
    told = said("split", source.annotations, "--images", source.uri, *shares, "--out", out)
    assert "0.25" in told
    assert "12 images read, all used" in told
    assert json.loads((out / "split.json").read_text())["tally"]["images"]["used"] == 12
    few, many = (json.loads((out / f"labeled-{share}.json").read_text())["images"] for share in ("0.25", "0.5"))
    assert (len(few), len(many)) == (3, 6)
    assert all(one in many for one in few)


def test_a_holdout_is_apart(tmp_path):
    source, out = write_coco(tmp_path, 12), tmp_path / "out"
    assert "9 images to train, 3 for validation" in said(
        "split", source.annotations, "--images", source.uri, "--holdout", "0.25", "--out", out
    )
    train, validation = (json.loads((out / f"{name}.json").read_text())["images"] for name in ("train", "val"))
    assert sorted(one["id"] for one in train + validation) == list(range(12))
