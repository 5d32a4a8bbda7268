"""Fixtures that several rooms share: an S3-speaking server on loopback, and a store of masks that are never wrong,
and the parts of a tiny training.
"""

import dataclasses
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from bench.counting_s3 import KEYS, CountingS3
from segray.formats.registry import open_source
from segray.store import Store
from segray.store.rows import LabeledRow, labeled_rows
from segray.testing import write_coco, write_training


@pytest.fixture(scope="session")
def s3_server() -> Iterator[CountingS3]:
    with CountingS3() as server:
        yield server


@pytest.fixture(scope="session")
def s3_endpoint(s3_server: CountingS3) -> str:
    return s3_server.address


@pytest.fixture
def s3_bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a fresh bucket, reachable through the environment."""
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": s3_endpoint}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    name = f"b-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


IMAGES = 8


@pytest.fixture(scope="session")
def coco(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp("coco"), IMAGES)


@pytest.fixture(scope="session")
def masks_store(coco, tmp_path_factory):
    source = open_source(coco)
    rows = []
    for image in source.rows():
        found = source.instances(image.image_id)
        unknown = dataclasses.replace(
            found, classes=np.full(len(found), -1, np.int32), provenance=np.full(len(found), "sam:true", object)
        )
        rows.append(LabeledRow(image=image, sha256="0" * 64, instances=unknown))
    rows[-1] = LabeledRow(image=rows[-1].image, error="damaged", detail="as a test has it")
    store = Store.create(str(tmp_path_factory.mktemp("stores")), "masks", {"of": "rectangles"})
    store.write_part(rows)
    return store


@pytest.fixture
def run(tmp_path):
    """What a stage leaves of images, read back from the store that its content names."""

    def go(stage, images):
        store = Store.create(str(tmp_path / "stores"), stage.name, stage.content)
        store.write_part(list(stage.build()(list(images))))
        rows = [row for batch in store.rows() for row in labeled_rows(batch)]
        return store, {row.image.image_id: row for row in rows}

    return go


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """A run of a method before its first step, as a worker would build it."""

    config: Any
    plan: Any
    context: Any
    rows: Mapping[str, Any]

    def objective(self):
        return self.plan.objective(self.context)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Callable[..., Tiny]:
    """`tiny(method, run, *overrides)`; what a run builds on has random weights."""
    import torch

    from segray.job_configs import load_as
    from segray.jobs.train import prepare_rows
    from segray.methods import plans
    from segray.methods.config import TrainConfig
    from segray.models.build import build_student
    from segray.models.package import save_student
    from segray.training.plan import RunContext

    folder = tmp_path_factory.mktemp("tiny")
    paths: dict[str, Path] = {}

    def make(method: str, run: str, *overrides: str) -> Tiny:
        if method not in paths:
            (folder / method).mkdir()
            paths[method] = write_training(folder / method, method)
        config = load_as(TrainConfig, paths[method], overrides)
        rows = {role: one.rows for role, one in prepare_rows(config).items()}
        teacher = str(folder / method / "teacher")
        save_student(build_student(config.student, rows["labeled"].classes, seed=7), teacher, info={})
        context = RunContext(
            config=config,
            classes=rows["labeled"].classes,
            device=torch.device("cpu"),
            parents={"teacher": teacher, "labeler": teacher},
        )
        plan = next(one for one in plans(config) if one.name == run)
        return Tiny(config=config, plan=plan, context=context, rows=rows)

    return make
