"""What this machine has, and what cannot be done without what it lacks. Imports neither torch nor Ray.

Each probe is bounded in time and raises nothing: what cannot be found out is unknown. Secrets are only looked for.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from packaging.requirements import Requirement

import segray

GIB: Final = 2**30
LEAST_DISK_GIB: Final = 10
RAY_SHARE: Final = 0.3
"""Share of the memory that Ray takes for its objects, in /dev/shm where there is room."""
HUB_TIMEOUT_S: Final = 4.0
BFLOAT16_FLAGS: Final = ("amx_bf16", "avx512_bf16", "bf16")
CGROUP_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

_TORCH: Final = """
import json, torch
gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
cuda = torch.version.cuda if torch.cuda.is_available() else None
print(json.dumps({"version": torch.__version__, "cuda": cuda, "gpus": [[one.name, one.total_memory] for one in gpus]}))
"""
_RAY: Final = "import json, ray; print(json.dumps({'version': ray.__version__}))"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a machine has or lacks."""

    name: str
    value: str
    """What there is, for people."""
    status: Literal["ok", "limited", "missing", "unknown"] = "ok"
    """limited: something optional is absent. missing: segray itself needs it. unknown: it could not be found out."""
    note: str = ""
    """What is missing for what, where the status is not ok."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """The same for machines: sizes in bytes."""


Probe = Callable[[], Sequence[Finding]]


def diagnose(*, offline: bool = False, timeout_s: float = 60.0) -> list[Finding]:
    """Return what this machine has, in little more than `timeout_s` at most.

    Args:
        offline: do not ask the Hugging Face Hub whether it can be reached; HF_HUB_OFFLINE says the same.
        timeout_s: bound of each probe, in seconds; they run at the same time.
    """
    probes: dict[str, Probe] = {
        "Python": _python,
        "segray": _segray,
        "torch": lambda: _torch(timeout_s),
        "Ray": lambda: _ray(timeout_s),
        "CPU": _cpu,
        "memory": _memory,
        "/dev/shm": _shm,
        "disk": _disk,
        "hub": lambda: _hub(offline=offline),
        **{name: partial(_secret, name) for name in SECRETS},
    }
    bounds = dict.fromkeys(probes, timeout_s + 1) | {"hub": HUB_TIMEOUT_S + 1}
    return [finding for one in _all(probes, bounds) for finding in one]


def _all(probes: Mapping[str, Probe], bounds: Mapping[str, float]) -> Iterator[Sequence[Finding]]:
    """Run probes in threads that may be left behind; what fails or takes longer than its bound is unknown."""
    found: dict[str, Sequence[Finding]] = {}

    def run(name: str, probe: Probe) -> None:
        try:
            found[name] = probe()
        except Exception as error:
            found[name] = [Finding(name=name, value=f"{type(error).__name__}: {error}", status="unknown")]

    begin = time.monotonic()
    threads = {name: threading.Thread(target=run, args=(name, probe), daemon=True) for name, probe in probes.items()}
    for thread in threads.values():
        thread.start()
    for name, thread in threads.items():
        thread.join(max(begin + bounds[name] - time.monotonic(), 0))
        yield found.get(name) or [Finding(name=name, value=f"no answer in {bounds[name]:g} s", status="unknown")]


def _python() -> list[Finding]:
    is_new = sys.version_info >= (3, 11)
    note = "" if is_new else "segray needs Python 3.11 or later"
    value = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    return [Finding(name="Python", value=value, status="ok" if is_new else "missing", note=note)]


def _segray() -> list[Finding]:
    """Look for the packages that segray needs, where it is installed."""
    where = Path(segray.__file__).parent
    try:
        needed = [Requirement(one) for one in metadata.requires("segray") or []]
    except metadata.PackageNotFoundError:
        return [Finding(name="segray", value=f"{segray.__version__}, not installed, from {where}")]
    lacking = [str(one) for one in needed if not (one.marker and not one.marker.evaluate()) and not _is_there(one)]
    note = f"not installed or of another version: {', '.join(lacking)}; `pip install segray` brings them"
    value = f"{segray.__version__}, {where}"
    if lacking:
        return [Finding(name="segray", value=value, status="missing", note=note, figures={"lacking": lacking})]
    return [Finding(name="segray", value=value)]


def _is_there(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def _child(name: str, code: str, timeout_s: float) -> Mapping[str, Any] | Finding:
    """Run code in a process of its own, which may hang or crash, and return the JSON that it prints last."""
    command = [sys.executable, "-P", "-c", code]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding(name=name, value=f"no answer in {timeout_s:g} s", status="unknown")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return Finding(name=name, value=last, status="missing", note=f"{name} cannot be imported; segray needs it")
    read: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return read


def _torch(timeout_s: float) -> list[Finding]:
    found = _child("torch", _TORCH, timeout_s)
    if isinstance(found, Finding):
        return [found]
    torch = Finding(name="torch", value=found["version"])
    if not found["cuda"]:
        return [torch, Finding(name="CUDA", value="none", status="limited", note=_why_no_cuda())]
    gpus = [Finding(name="GPU", value=f"{name}, {_gib(size)}", figures={"bytes": size}) for name, size in found["gpus"]]
    return [torch, Finding(name="CUDA", value=found["cuda"]), *gpus]


def _why_no_cuda() -> str:
    note = (
        "no CUDA: SAM ViT-H labels at minutes per image, and students with real backbones train slowly;"
        " the nano models are fine"
    )
    present = Path("/proc/driver/nvidia/gpus")
    if present.is_dir() and any(present.iterdir()):
        note += ". This machine has an NVIDIA GPU: torch is built for the CPU, or the driver is too old for it"
    return note


def _ray(timeout_s: float) -> list[Finding]:
    found = _child("Ray", _RAY, timeout_s)
    if isinstance(found, Finding):
        return [found]
    joins = f", joins the cluster at {address}" if (address := os.environ.get("RAY_ADDRESS")) else ""
    return [Finding(name="Ray", value=f"{found['version']}{joins}")]


def _cpu() -> list[Finding]:
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cpu = Finding(name="CPU", value=f"{number} cores", figures={"cores": number})
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return [cpu, Finding(name="bfloat16 on the CPU", value="cannot be told here", status="unknown")]
    known = [flag for flag in BFLOAT16_FLAGS if flag in flags]
    if known:
        return [cpu, Finding(name="bfloat16 on the CPU", value=", ".join(known))]
    note = 'no instructions for it: precision = "bfloat16" is slower than float32 on this CPU'
    return [cpu, Finding(name="bfloat16 on the CPU", value="none", status="limited", note=note)]


def _memory_bytes() -> int:
    """Return the memory that this process may use: the machine's, or the limit of its container."""
    texts = [path.read_text(encoding="utf-8").strip() for path in map(Path, CGROUP_LIMITS) if path.is_file()]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(int(one) for one in texts if one.isdecimal())])


def _memory() -> list[Finding]:
    size = _memory_bytes()
    return [Finding(name="memory", value=_gib(size), figures={"bytes": size})]


def _shm() -> list[Finding]:
    if not Path("/dev/shm").is_dir():
        return [Finding(name="/dev/shm", value="none", note="Ray keeps its objects elsewhere on this system")]
    total, wanted = shutil.disk_usage("/dev/shm").total, RAY_SHARE * _memory_bytes()
    figures = {"bytes": total}
    if total >= wanted:
        return [Finding(name="/dev/shm", value=_gib(total), figures=figures)]
    note = (
        f"Ray would keep {_gib(wanted)} of objects here and uses the disk instead, which is slow: give a container"
        f" --shm-size={wanted / GIB:.0f}g or more"
    )
    return [Finding(name="/dev/shm", value=_gib(total), status="limited", note=note, figures=figures)]


def _disk() -> list[Finding]:
    free = shutil.disk_usage(".").free
    is_enough = free >= LEAST_DISK_GIB * GIB
    note = "" if is_enough else f"under {LEAST_DISK_GIB} GiB: checkpoints of large students and fetched models fill it"
    status: Literal["ok", "limited"] = "ok" if is_enough else "limited"
    return [Finding(name="disk", value=f"{_gib(free)} free here", status=status, note=note, figures={"bytes": free})]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow no redirect: the first answer says enough."""


def _hub(*, offline: bool) -> list[Finding]:
    if offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return [Finding(name="hub", value="not asked, offline", status="unknown")]
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=HUB_TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:
        problem = f"answers {error.code}" if error.code >= 500 else ""
    except (OSError, ValueError) as error:
        problem = str(getattr(error, "reason", error))
    else:
        problem = ""
    if not problem:
        return [Finding(name="hub", value="reachable")]
    note = "models by their hub id must be in the local cache, or be given as folders; shipped models need no hub"
    return [Finding(name="hub", value=f"not reachable ({problem})", status="limited", note=note)]


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A secret that some jobs need."""

    purpose: str
    variables: tuple[tuple[str, ...], ...]
    """Environment variables: one of these groups, all of it."""
    files: tuple[str, ...] = ()
    """Files that hold it in place of the environment."""


SECRETS: Final[Mapping[str, Secret]] = {
    "HF_TOKEN": Secret(
        purpose="models of the hub that ask for consent (SAM 3)",
        variables=(("HF_TOKEN",), ("HUGGING_FACE_HUB_TOKEN",)),
        files=("$HF_HOME/token", "~/.cache/huggingface/token"),
    ),
    "WANDB_API_KEY": Secret(
        purpose='tracking.wandb = "online"; "offline", the default, needs none', variables=(("WANDB_API_KEY",),)
    ),
    "RAY_AUTH_TOKEN": Secret(
        purpose="`segray submit` to clusters that ask for a token", variables=(("RAY_AUTH_TOKEN",),)
    ),
    "AWS credentials": Secret(
        purpose="private s3:// buckets; roles of cloud machines are not looked for",
        variables=(
            ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE",),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",),
        ),
        files=("~/.aws/credentials",),
    ),
}


def _secret(name: str) -> list[Finding]:
    secret = SECRETS[name]
    if any(all(os.environ.get(variable) for variable in group) for group in secret.variables):
        return [Finding(name=name, value="present (environment)")]
    for file in secret.files:
        if Path(os.path.expandvars(os.path.expanduser(file))).is_file():  # noqa: PTH111 - pathlib needs a home
            return [Finding(name=name, value=f"present ({file})")]
    return [Finding(name=name, value="absent", status="limited", note=f"for {secret.purpose}")]


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
