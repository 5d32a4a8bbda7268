"""Rules for the image's Dockerfile, in the manner of hadolint. Knows its text and the files that it copies."""

import io
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dockerfile_parse import DockerfileParser

_SECRET = re.compile(r"(secret|token|password|passwd|credential|api_?key|access_?key)", re.IGNORECASE)
_LABELS = ("title", "description", "licenses", "version", "revision")


@dataclass(frozen=True)
class Step:
    """One instruction."""

    line: int
    instruction: str
    value: str

    @property
    def words(self) -> list[str]:
        """Its arguments without flags."""
        return [word for word in shlex.split(self.value) if not word.startswith("--")]


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile and the folder it is built from."""

    steps: Sequence[Step]
    context: Path
    base: str
    """The image it is built on, arguments filled in."""

    def of(self, *instructions: str) -> list[Step]:
        """Steps of some kinds."""
        return [each for each in self.steps if each.instruction in instructions]


def parse(text: str, context: Path) -> Dockerfile:
    """A Dockerfile's text."""
    parser = DockerfileParser(fileobj=io.BytesIO(text.encode()))
    steps = [
        Step(each["startline"] + 1, each["instruction"], each["value"])
        for each in parser.structure
        if each["instruction"] != "COMMENT"
    ]
    return Dockerfile(steps, context, parser.baseimage or "")


def dockerfile_problems(image: Dockerfile, ray_version: str) -> list[str]:
    """What is wrong with it."""
    problems = [f"line {step.line}: {each}" for step in image.steps for rule in _RULES for each in rule(step, image)]
    return problems + [each for rule in _OF_ALL for each in rule(image, ray_version)]


def _no_add(step: Step, _: Dockerfile) -> Iterator[str]:
    if step.instruction == "ADD":
        yield "ADD unpacks and downloads: COPY files that are here"


def _copied_files_exist(step: Step, image: Dockerfile) -> Iterator[str]:
    if step.instruction == "COPY":
        for source in step.words[:-1]:
            if source in (".", "./"):
                yield "COPY of everything: name what the image needs"
            elif not list(image.context.glob(source)):
                yield f"COPY {source}: there is no such file"


def _pip_is_pinned(step: Step, _: Dockerfile) -> Iterator[str]:
    if step.instruction == "RUN":
        for command in re.split(r"&&|;|\|\|", step.value):
            if re.search(r"\bpip3?\b.*\binstall\b", command):
                if "-c constraints.txt" not in command:
                    yield "pip install without `-c constraints.txt`: not the versions that were tested"
                if "--no-cache-dir" not in command:
                    yield "pip install without --no-cache-dir: the layer holds every wheel twice"
                if "http://" in command or "https://" in command:
                    yield "pip install from an address"


def _apt_leaves_nothing(step: Step, _: Dockerfile) -> Iterator[str]:
    if step.instruction == "RUN" and "apt-get install" in step.value:
        if "rm -rf /var/lib/apt/lists" not in step.value:
            yield "apt-get install leaves its lists: rm -rf /var/lib/apt/lists/* in the same RUN"
        if "--no-install-recommends" not in step.value:
            yield "apt-get install without --no-install-recommends"


def _no_sudo(step: Step, _: Dockerfile) -> Iterator[str]:
    if step.instruction == "RUN" and re.search(r"\bsudo\b", step.value):
        yield "sudo: switch by USER"


def _no_secrets(step: Step, _: Dockerfile) -> Iterator[str]:
    if step.instruction in ("ENV", "ARG", "LABEL"):
        names = [word.partition("=")[0] for word in shlex.split(step.value)]
        yield from (
            f"{step.instruction} {each}: a secret in an image is everyone's" for each in names if _SECRET.search(each)
        )


def _absolute_workdir(step: Step, _: Dockerfile) -> Iterator[str]:
    if step.instruction == "WORKDIR" and not step.value.startswith("/"):
        yield f"WORKDIR {step.value}: give an absolute path"


_RULES: Final[tuple[Callable[[Step, Dockerfile], Iterator[str]], ...]] = (
    _no_add,
    _copied_files_exist,
    _pip_is_pinned,
    _apt_leaves_nothing,
    _no_sudo,
    _no_secrets,
    _absolute_workdir,
)


def _base_is_pinned(image: Dockerfile, ray_version: str) -> Iterator[str]:
    wanted = rf"rayproject/ray:{re.escape(ray_version)}-py311-(cpu|gpu)"
    if not re.fullmatch(wanted, image.base):
        yield f"built on {image.base or 'nothing'}, not on rayproject/ray:{ray_version}-py311-cpu or -gpu"


def _not_root(image: Dockerfile, _: str) -> Iterator[str]:
    users = image.of("USER")
    if not users or not users[-1].value.isdigit() or int(users[-1].value) == 0:
        yield "the last USER must be a number and not root: Kubernetes cannot see who a name is"


def _home_is_roots(image: Dockerfile, _: str) -> Iterator[str]:
    user = ""
    for step in image.of("USER", "WORKDIR"):
        if step.instruction == "USER":
            user = step.value
        elif user != "0":
            yield f"WORKDIR {step.value} would be the user's, who could change the code: USER 0 before it"


def _dependencies_before_code(image: Dockerfile, _: str) -> Iterator[str]:
    installs = [each.line for each in image.of("RUN") if "pip install" in each.value]
    code = [each.line for each in image.of("COPY") if {"platform", "jobs", "serve"} & {*each.words}]
    if not installs or not code or max(installs) > min(code):
        yield "dependencies must be installed before the code is copied: else each change of code installs them anew"


def _finds_its_code(image: Dockerfile, _: str) -> Iterator[str]:
    home = next((each.value for each in reversed(image.of("WORKDIR"))), "")
    wanted = f"PYTHONPATH={home}/platform:{home}"
    if not any(wanted in shlex.split(each.value) for each in image.of("ENV")):
        yield f"no ENV {wanted}"


def _labelled(image: Dockerfile, _: str) -> Iterator[str]:
    given = {word.partition("=")[0] for each in image.of("LABEL") for word in shlex.split(each.value)}
    yield from (
        f"no label {each}" for each in (f"org.opencontainers.image.{part}" for part in _LABELS) if each not in given
    )


_OF_ALL: Final[tuple[Callable[[Dockerfile, str], Iterator[str]], ...]] = (
    _base_is_pinned,
    _not_root,
    _home_is_roots,
    _dependencies_before_code,
    _finds_its_code,
    _labelled,
)
