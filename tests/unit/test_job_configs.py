import subprocess
import sys
from pathlib import Path

import pytest

from segray import job_configs
from segray.config import base
from segray.errors import ConfigError
from segray.methods.unimatch.config import UniMatch

ROOT = Path(__file__).parents[2]
GOOD = 'job = "label"\nstores = "out"\n[source]\nkind = "folder"\nuri = "images"\n'


def write(folder, text):
    path = folder / "config.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.toml")), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_config_of_the_project_loads(path):
    assert job_configs.load(path).job in job_configs.JOBS


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ("[masks]\npoints_per_side = 0", "masks.points_per_side: input should be greater than or equal to 1, got 0"),
        ('[masks]\nbox_nms_thresh = "x"', "masks.box_nms_thresh: input should be a valid number"),
        ("[masks]\ncolour = 3", "masks.colour: unknown key (given 3)"),
        ('[masks]\nmode = "slow"', "masks.mode: input should be 'exact' or 'fast', got 'slow'"),
        ("[masks]\npoints_per_side = 2\ncrop_n_layers = 2\ncrop_n_points_downscale_factor = 2", "leaves no point"),
        ('[sam]\nkind = "clip"', "sam.kind: got 'clip', allowed: 'original', 'hf'"),
        ("[sam]\nmodel = 'nano'", "sam.kind: missing, say which kind it is: 'original', 'hf'"),
        ('[sam]\nkind = "original"\nmodel = "vit_h"', "sam.model: 'vit_h' needs weights"),
        ("[masks]\npionts_per_side = 8", "unknown key (given 8), did you mean 'points_per_side'?"),
        ('[tiles]\nmerge = "nms"\nmerge_iou = 0.7', 'tiles.merge_iou: 0.7 has no effect, because merge = "nms"'),
        ("[workers]\nmin_workers = 3", "min_workers 3 is above max_workers 1"),
        ("[cost]\nbudget = 2", "needs cost.per_gpu_hour"),
        (
            '[sam]\nkind = "original"\ndevice = "cuda"\nprecision = "bfloat16"',
            "sam.device and sam.precision need a GPU",
        ),
        ("[tiles]\nsize = 100\noverlap = 50", "overlap 50 must be under half of size 100"),
    ],
)
def test_a_mistake_is_one_line_with_its_path(tmp_path, tables, problem):
    with pytest.raises(ConfigError) as caught:
        job_configs.load(write(tmp_path, f"{GOOD}{tables}\n"))
    assert len(caught.value.problems) == 1
    assert problem in str(caught.value)


TRAINING = """job = "train"
runs = "out"
[method]
kind = "s4m"
[data.labeled]
kind = "coco"
uri = "images"
annotations = "a.json"
[data.unlabeled]
kind = "folder"
uri = "images"
"""


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["workers.gpus=1"], ""),
        (["device=cuda", "workers.gpus=1"], ""),
        (["device=cuda", "workers.num_workers=0"], ""),
        (["device=cuda"], 'device "cuda" needs workers.gpus above 0'),
        (["device=cpu", "workers.gpus=1"], 'device "cpu" needs workers.gpus = 0, got 1'),
        (["workers.num_workers=3"], "method.teacher.schedule.labeled_batch: 16 images cannot be shared by 3 workers"),
        (
            ["workers.num_workers=8"],
            "unlabeled_batch: 16 images cannot be shared by 8 workers in 1 pieces, in groups of 4",
        ),
        (["workers.num_workers=4", "workers.min_workers=2"], "shared by 3 workers"),
        (["method.student.schedule.accumulate=5"], "method.student.schedule.labeled_batch: 16 images cannot"),
        (["student.kind=fpn"], "method s4m with student fpn: it trains mask2former"),
        (["view.canvas_hw=[64, 100]"], "view.canvas_hw [64, 100]: a mask2former needs multiples of 32"),
        (["method={kind='unimatch'}"], "method unimatch with student mask2former"),
        (["method={kind='unimatch'}", "student.kind=dpt"], "a dpt needs multiples of 14"),
        (["method={kind='unimatch'}", "student.kind=dpt", "view.canvas_hw=[126, 70]"], ""),
        (
            ["method.teacher.schedule.unlabeled_batch=8"],
            "method.teacher.schedule.unlabeled_batch: 8 has no effect, because method.teacher learns from labels only",
        ),
        (
            ["method={kind='supervised', schedule={unlabeled_batch=8}}"],
            "method.schedule.unlabeled_batch: 8 has no effect, because method learns from labels only",
        ),
        (["data.unlabeled=none"], "method.student learns from unlabeled images: give data.unlabeled"),
        (
            ["method={kind='supervised'}", "student.kind=fpn", "student.loss.ohem.group=3", "workers.num_workers=2"],
            "method.schedule.labeled_batch: 16 images cannot be shared by 2 workers in 1 pieces, in groups of 3",
        ),
    ],
)
def test_what_workers_cannot_do_is_said_while_loading(tmp_path, overrides, problem):
    if not problem:
        assert job_configs.load(write(tmp_path, TRAINING), overrides).job == "train"
        return
    with pytest.raises(ConfigError) as caught:
        job_configs.load(write(tmp_path, TRAINING), overrides)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("given", "half_life"),
    [
        ({}, None),
        ({"streams": "v2"}, 172.9),
        ({"streams": "v2", "ema_half_life": 10.0}, 10.0),
        ({"streams": "v2", "ema_half_life": 0}, None),
        ({"streams": "v1", "ema_half_life": 5.0}, 5.0),
        ({"streams": "v2", "zero_shot": {"store": "labels", "use": "only"}}, None),
    ],
)
def test_v2_has_a_teacher_of_its_own_unless_told_otherwise(given, half_life):
    assert base.build(UniMatch, given, "test").half_life == half_life


def test_all_mistakes_are_listed_and_counted(tmp_path):
    bad = 'job = "label"\n[source]\nkind = "coco"\nuri = ""\n[masks]\npoints_per_side = 0\n[extra]\nx = 1\n'
    with pytest.raises(ConfigError, match="5 problems") as caught:
        job_configs.load(write(tmp_path, bad))
    paths = {problem.split(":")[0] for problem in caught.value.problems}
    assert paths == {"source.uri", "source.annotations", "stores", "masks.points_per_side", "extra"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("job = ", "not TOML"),
        ('job = "dance"', "allowed: 'label'"),
        ("", "got None"),
    ],
)
def test_what_is_no_job_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        job_configs.load(write(tmp_path, text))


def test_a_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        job_configs.load(Path("nowhere.toml"))


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("masks.points_per_side=8", ("masks", "points_per_side"), 8),
        ("masks.mode=fast", ("masks", "mode"), "fast"),
        ('stores="a=b"', ("stores",), "a=b"),
        ("cost.per_gpu_hour=1e-1", ("cost", "per_gpu_hour"), 0.1),
        ("tiles.size=512", ("tiles", "size"), 512),
        ("source.uri=2024-01-01", ("source", "uri"), "2024-01-01"),
        ("source.name=1e5", ("source", "name"), "1e5"),
        ("source.name=true", ("source", "name"), "true"),
        ("source.name=[a]", ("source", "name"), "[a]"),
        ('source.name="7"', ("source", "name"), "7"),
        ("source.name=none", ("source", "name"), None),
    ],
)
def test_overrides_are_toml_values(tmp_path, override, path, value):
    loaded = job_configs.load(write(tmp_path, GOOD), [override])
    for name in path:
        loaded = getattr(loaded, name)
    assert loaded == value


def test_a_byte_order_mark_is_read_over(tmp_path):
    path = write(tmp_path, "")
    path.write_text(GOOD, encoding="utf-8-sig")
    assert job_configs.load(path).job == "label"


@pytest.mark.parametrize(("override", "message"), [("masks", "key.path=value"), ("job.x=1", "job is a value")])
def test_overrides_that_fit_nothing_are_refused(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        job_configs.load(write(tmp_path, GOOD), [override])


def test_fingerprints_name_content_not_order():
    assert base.fingerprint({"a": 1, "b": 2.0}) == base.fingerprint({"b": 2.0, "a": 1})
    assert base.fingerprint({"a": 1}) != base.fingerprint({"a": 2})


def test_configs_load_without_torch_ray_or_numpy(tmp_path):
    code = (
        "import sys; from pathlib import Path; from segray import job_configs;"
        f"job_configs.load(Path({str(write(tmp_path, GOOD))!r}));"
        "sys.exit(bool({'torch', 'ray', 'numpy', 'pyarrow'} & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": str(ROOT / "platform"), "PATH": ""}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


@pytest.mark.parametrize(("tables", "overrides"), [("[tiles]\nsize = 512\n", ["tiles=none"]), ('tiles = "none"\n', [])])
def test_none_is_a_value(tmp_path, tables, overrides):
    top, _, source = GOOD.partition("[source]")
    path = write(tmp_path, f"{top}{tables}[source]{source}")
    assert job_configs.load(path, overrides).tiles is None
