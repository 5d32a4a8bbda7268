import re
import tomllib
from pathlib import Path

import pytest

from segray import job_configs
from segray.config import base
from segray.config.text import toml

ROOT = Path(__file__).parents[4]
CONFIGS = sorted((ROOT / "configs").rglob("*.toml"))
S4M, UNIMATCH, VOC = (
    ROOT / "configs" / name for name in ("s4m/family-b.toml", "unimatch/v1-voc.toml", "zero-shot/voc.toml")
)


def shown(path, *overrides):
    return toml.resolved(job_configs.load(path, overrides))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, '"none"'),
        (True, "true"),
        (12, "12"),
        (1e-05, "1e-05"),
        (2 / 3, "0.6666666666666666"),
        (1e22, "1e+22"),
        ('say "\\"', r'"say \"\\\""'),
        ("tab\t, line\n, \x7f, größe 図", r'"tab\t, line\n, \u007f, größe 図"'),
        ((1, (2.5, "a")), '[1, [2.5, "a"]]'),
        ({"plain-key": 1, "two words": {}}, '{ plain-key = 1, "two words" = {} }'),
    ],
)
def test_a_value_is_toml_that_reads_as_the_same(value, text):
    assert toml.literal(value) == text
    read = tomllib.loads(f"value = {text}")["value"]
    assert read == ("none" if value is None else [1, [2.5, "a"]] if isinstance(value, tuple) else value)


@pytest.mark.parametrize(
    ("path", "overrides"),
    [
        *((path, ()) for path in CONFIGS),
        (S4M, ("method.student.arp=none", "method.student.refinement=none", "method.teacher.distillation=none")),
        (ROOT / "configs/evaluate/family-b.toml", ("student.predict.window.size=64", "student.predict.side=none")),
        (ROOT / "configs/serve/nano.toml", ('keys={kind="file", path="of \\"mine\\".txt"}',)),
    ],
    ids=lambda given: given.stem if isinstance(given, Path) else "",
)
def test_a_shown_config_loads_again_as_the_same_with_or_without_its_defaults(path, overrides, tmp_path):
    again = tmp_path / "shown.toml"
    whole = shown(path, *overrides)
    short = re.sub(r"^.*  # default\n", "", whole, flags=re.MULTILINE)
    assert len(short) < len(whole)
    for text in (whole, short):
        again.write_text(text, encoding="utf-8")
        assert base.fingerprint(job_configs.load(again)) == base.fingerprint(job_configs.load(path, overrides))


@pytest.mark.parametrize(
    ("path", "overrides", "line"),
    [
        (S4M, (), "seed = 0  # default"),
        (S4M, (), "evaluate_every = 100"),
        (S4M, ("intervals.evaluate_every=0",), "evaluate_every = 0  # default"),
        (S4M, ("method.student.arp=none",), 'arp = "none"'),
        (S4M, (), "unlabeled_batch = 16  # default"),
        (S4M, (), 'kind = "s4m"'),
        (VOC, (), "min_tokens = 1.0  # default"),
        # A table that is left out has the method's default, one that is given the defaults of its class.
        (UNIMATCH, (), "brightness = 0.5  # default"),
        (UNIMATCH, ("method.strong.hue=0.02",), "brightness = 0.4  # default"),
    ],
)
def test_defaults_are_marked(path, overrides, line):
    assert line in shown(path, *overrides).splitlines()
