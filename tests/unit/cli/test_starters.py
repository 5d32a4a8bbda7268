"""Every starter config loads as it is, and stays what it is when one of its commented lines becomes a setting."""

import inspect
import re
from itertools import pairwise
from pkgutil import resolve_name, walk_packages

import pytest
from typer.testing import CliRunner

import segray.config
import segray.methods
from segray import job_configs
from segray.cli import app
from segray.cli.starters import CHOSEN, NOTES, starter_config
from segray.config import base
from segray.config.text.starter import COMMON
from segray.methods import METHODS

STARTERS = [*((job, None) for job in job_configs.JOBS), *(("train", method) for method in METHODS)]
OFF = re.compile(r"^#(?=[a-z])")


@pytest.fixture(params=STARTERS, ids=lambda one: "-".join(filter(None, one)))
def starter(request):
    return starter_config(*request.param)


def load(folder, text):
    path = folder / "my.toml"
    path.write_text(text, encoding="utf-8")
    return job_configs.load(path)


@pytest.mark.parametrize(("job", "method"), STARTERS)
def test_what_init_prints_passes_check(job, method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = CliRunner().invoke(app, ["init", job, *(["--method", method] if method else [])])
    assert printed.exit_code == 0
    (tmp_path / "my.toml").write_text(printed.stdout)
    checked = CliRunner().invoke(app, ["check", "--no-data", "my.toml"])
    assert checked.exit_code == 0, checked.output
    assert f"{job} job" in checked.stdout


def test_each_commented_line_can_become_a_setting(starter, tmp_path):
    lines = starter.splitlines()
    whole, seen = load(tmp_path, starter), 0
    for index, line in enumerate(lines):
        if OFF.match(line):
            seen += 1
            changed = load(tmp_path, "\n".join([*lines[:index], line[1:], *lines[index + 1 :]]))
            is_default = not line.endswith("}") or line.endswith("{}")
            assert (base.fingerprint(changed) == base.fingerprint(whole)) == is_default, line
    assert seen >= 5


def test_each_key_has_a_comment(starter):
    lines = [line for line in starter.splitlines() if line]
    keys = [(before, line) for before, line in pairwise(lines) if re.match(r"#?[a-z_]+ = ", line)]
    assert [line for before, line in keys if not before.startswith("# ") and not re.match("job = |kind = ", line)] == []


@pytest.mark.parametrize(
    ("job", "method", "line"),
    [
        ("label", None, 'kind = "folder"  # or "coco", "voc", "cityscapes", "manifest", "label-studio", "store"'),
        ("label", None, "#gpus = 0"),
        ("label", None, '#tiles = { size = 1024, overlap = 128, merge = "union", merge_iou = 0.5 }'),
        ("classify", None, 'classes = ["cat", "dog"]'),
        ("vote", None, 'masks = "out/stores/STORE"'),
        ("train", "unimatch", '#zero_shot = { store = "out/stores/STORE", '),
        ("train", "unimatch", "[data.unlabeled]"),
        ("train", "s4m", "[method.student.arp]"),
        ("serve", None, 'kind = "off"  # or "file"'),
    ],
)
def test_a_starter_has_the_line(job, method, line):
    assert any(one.startswith(line) for one in starter_config(job, method).splitlines())


def test_labels_alone_need_no_unlabeled_images():
    assert "data.unlabeled" not in starter_config("train", "supervised")


def test_what_is_chosen_by_hand_exists():
    modules = [
        one.name
        for package in (segray.config, segray.methods)
        for one in walk_packages(package.__path__, f"{package.__name__}.")
        if package is segray.config or one.name.endswith(".config")
    ]
    classes = {
        name: cls for module in modules for name, cls in inspect.getmembers(resolve_name(module), inspect.isclass)
    }
    for name, keys in COMMON.items():
        unknown = set(keys) - classes[name].__pydantic_fields__.keys()
        assert not unknown, f"{name} has no {unknown}"
    assert {*CHOSEN, *NOTES} <= job_configs.JOBS.keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["init", "dance"], "dance"),
        (["init", "train", "--method", "waltz"], "waltz"),
        (["init", "label", "--method", "s4m"], "belongs to the job train, not to label"),
    ],
)
def test_an_unknown_starter_is_refused(arguments, message):
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert message in done.output
