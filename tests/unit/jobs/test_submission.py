import shlex

import pytest

from segray.errors import ConfigError
from segray.jobs import submission
from segray.jobs.submission import Submission, parcel

LABEL = """
job = "label"
stores = "out/stores"
source = { kind = "folder", uri = "s3://bucket/images" }
sam = { kind = "original", model = "vit_b", weights = "s3://bucket/vit_b.pth" }
"""
EVALUATE = """
job = "evaluate"
student = { uri = "runs/one/best" }
data = { kind = "coco", uri = "s3://bucket/images", annotations = "file:///data/instances.json" }
out = "s3://bucket/out"
"""

CAM = """
job = "cam"
stores = "s3://bucket/stores"
taggers = "/shared/taggers"
source = { kind = "folder", uri = "s3://bucket/images" }
tags = { kind = "folders" }
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "my label.toml"
    path.write_text(LABEL)
    return path


def test_the_same_config_has_the_same_name_and_others_another(config):
    first = Submission.load("label", config)
    assert first.name == Submission.load("label", config).name
    assert first.name != Submission.load("label", config, ["sample=3"]).name
    assert first.name.startswith("label-")


def test_the_command_survives_a_shell(config):
    overrides = ["source.name='it has blanks; $HOME and \"quotes\"'", "sample=3"]
    command = Submission.load("label", config, overrides).command("a b.toml")
    assert shlex.split(command) == ["python", "-m", "jobs.label", "a b.toml", *overrides]


@pytest.mark.parametrize("name", ["Upper", "-first", "last-", "a" * 48, "dots.in", "1st", "new\nline"])
def test_names_that_a_cluster_would_not_take(config, name):
    with pytest.raises(ConfigError, match="name"):
        Submission.load("label", config, name=name)


def test_variables_are_given_or_taken_from_here(config, monkeypatch):
    monkeypatch.setenv("HERE", "a=b c")
    given = Submission.load("label", config, variables=["HERE", "GIVEN=x=y", "EMPTY="])
    assert given.variables == {"HERE": "a=b c", "GIVEN": "x=y", "EMPTY": ""}
    assert given.name == Submission.load("label", config).name


@pytest.mark.parametrize("variable", ["MISSING_HERE", "", "=x", "A B=1", "1A=x"])
def test_variables_that_are_none(config, variable):
    with pytest.raises(ConfigError, match="--env"):
        Submission.load("label", config, variables=[variable])


def test_another_jobs_config_is_refused(config, tmp_path):
    with pytest.raises(ConfigError, match="describes a label job"):
        Submission.load("train", config)
    (tmp_path / "evaluate.toml").write_text(EVALUATE)
    with pytest.raises(ConfigError, match="needs one of label, classify, prompt, predict, cam, vote"):
        Submission.load("label", tmp_path / "evaluate.toml")


def test_paths_that_mean_one_machine_are_found(config, tmp_path):
    (tmp_path / "evaluate.toml").write_text(EVALUATE)
    (tmp_path / "w.pth").write_bytes(b"")
    assert Submission.load("label", config).local_paths() == ["stores = out/stores"]
    moved = Submission.load("label", config, ["stores=s3://bucket/stores", f"sam.weights={tmp_path / 'w.pth'}"])
    assert moved.local_paths() == [f"sam.weights = {tmp_path / 'w.pth'}"]
    (tmp_path / "cam.toml").write_text(CAM)
    assert Submission.load("label", tmp_path / "cam.toml").local_paths() == ["taggers = /shared/taggers"]
    found = Submission.load("evaluate", tmp_path / "evaluate.toml").local_paths()
    assert found == ["student.uri = runs/one/best", "data.annotations = file:///data/instances.json"]


@pytest.mark.parametrize(
    ("kind", "overrides", "driver"),
    [
        ("label", [], (0, 0)),
        ("label", ["workers.num_workers=0", "workers.cpus=2"], (2, 0)),
        ("label", ["workers.num_workers=0", "workers.gpus=1"], (1, 1)),
        ("evaluate", [], (1, 0)),
        ("evaluate", ["student.device=cuda"], (1, 1)),
        ("cam", [], (1, 0)),
        ("cam", ["workers.gpus=0.5"], (0, 0)),
    ],
)
def test_a_command_that_computes_itself_reserves_for_it(tmp_path, kind, overrides, driver):
    (tmp_path / "job.toml").write_text({"label": LABEL, "evaluate": EVALUATE, "cam": CAM}[kind])
    assert (
        Submission.load("evaluate" if kind == "evaluate" else "label", tmp_path / "job.toml", overrides).driver
        == driver
    )


def test_code_and_config_travel_and_what_git_ignores_does_not(config, tmp_path, monkeypatch):
    checkout = tmp_path / "checkout"
    for name in ("platform/segray/a.py", "platform/segray/runs/b.py", "platform/segray/__pycache__/a.pyc",
                 "jobs/label.py", "serve/app.py", "configs/x.toml", "configs/out/huge.bin",
                 "data/images.bin", "configs/run.log", "runs/c"):  # fmt: skip
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_bytes(b"x")
    (checkout / ".gitignore").write_text("# outputs\nout/\n/runs/\n*.log\n")
    monkeypatch.setattr(submission, "CHECKOUT", checkout)
    with parcel(Submission.load("label", config), with_code=True) as folder:
        sent = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert sent == {
        "platform/segray/a.py", "platform/segray/runs/b.py", "jobs/label.py", "serve/app.py", "configs/x.toml",
        "submitted/my label.toml",
    }  # fmt: skip
    assert not folder.exists()


def test_every_module_of_the_package_travels(config):
    """A room named as an output folder would stay behind."""
    package = submission.CHECKOUT / "platform" / "segray"
    with parcel(Submission.load("label", config), with_code=True) as folder:
        sent = {path.relative_to(folder / "platform" / "segray") for path in folder.rglob("platform/**/*.py")}
    assert sent == {path.relative_to(package) for path in package.rglob("*.py")}


def test_with_the_code_in_the_image_only_the_config_travels(config):
    with parcel(Submission.load("label", config), with_code=False) as folder:
        (sent,) = [path for path in folder.rglob("*") if path.is_file()]
        assert sent.read_text() == LABEL


def test_data_among_the_code_is_named_and_not_sent(config, monkeypatch):
    monkeypatch.setattr(submission, "MOST_BYTES", 1_000_000)
    with (
        pytest.raises(ConfigError, match=r"largest files are .*sam-nano.safetensors \(8 MB\)"),
        parcel(Submission.load("label", config), with_code=True),
    ):
        pass


def test_an_installed_package_has_no_code_to_send(config, tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "CHECKOUT", tmp_path)
    with (
        pytest.raises(ConfigError, match="--image-code"),
        parcel(Submission.load("label", config), with_code=True),
    ):
        pass
