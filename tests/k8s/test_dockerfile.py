from pathlib import Path

import pytest

from k8s.check.dockerfile import dockerfile_problems, parse
from k8s.check.references import ray_version

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "k8s" / "Dockerfile").read_text(encoding="utf-8")
RAY = ray_version(ROOT / "constraints.txt")


def problems(text):
    return dockerfile_problems(parse(text, ROOT), RAY)


def test_the_image_keeps_every_rule():
    assert problems(TEXT) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("ARG RAY_VERSION=2.60.0", "ARG RAY_VERSION=2.59.0", "built on rayproject/ray:2.59.0-py311-gpu"),
        ("ARG DEVICE=gpu", "ARG DEVICE=latest", "built on"),
        ("FROM rayproject/ray:${RAY_VERSION}-${PYTHON}-${DEVICE}", "FROM python:3.11", "built on python:3.11"),
        ("USER 1000\n", "", "the last USER"),
        ("USER 1000\n", "USER ray\n", "the last USER"),
        ("USER 1000\n", "USER 1000\nUSER 0\n", "the last USER"),
        ("USER 0\nWORKDIR", "WORKDIR", "could change the code"),
        ("COPY jobs jobs", "ADD https://x/jobs.tar jobs", "ADD unpacks and downloads"),
        ("COPY jobs jobs", "COPY job jobs", "COPY job: there is no such file"),
        ("COPY jobs jobs", "COPY . .", "COPY of everything"),
        ("-c constraints.txt", "", "without `-c constraints.txt`"),
        ("--no-cache-dir", "", "without --no-cache-dir"),
        ("-r /tmp/requirements.txt", "-r /tmp/requirements.txt -i https://x", "from an address"),
        ("COPY platform", "RUN apt-get install -y x && rm -rf /var/lib/apt/lists/*\nCOPY platform", "recommends"),
        ("COPY platform", "RUN apt-get install -y --no-install-recommends x\nCOPY platform", "leaves its lists"),
        ("COPY platform", "RUN sudo ls\nCOPY platform", "sudo"),
        ("ENV PYTHONPATH", "ENV AWS_SECRET_ACCESS_KEY=x PYTHONPATH", "everyone's"),
        ("ARG REVISION=unknown", "ARG REVISION=unknown\nARG API_TOKEN", "everyone's"),
        ("WORKDIR /opt/segray", "WORKDIR opt/segray", "absolute path"),
        ("COPY pyproject.toml", "COPY platform platform\nCOPY pyproject.toml", "before the code"),
        ("PYTHONPATH=/opt/segray/platform:", "PYTHONPATH=", "no ENV PYTHONPATH"),
        ("org.opencontainers.image.revision", "revision", "no label org.opencontainers.image.revision"),
    ],
)
def test_a_mistake_is_found(old, new, told):
    assert TEXT.count(old) >= 1
    assert told in "\n".join(problems(TEXT.replace(old, new, 1)))


def test_what_is_copied_is_sent_to_the_builder():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    copied = {source for step in parse(TEXT, ROOT).of("COPY") for source in step.words[:-1]}
    assert "*" in ignored
    assert copied == sent
