"""Under CI a test may skip for want of CUDA or because it runs as root; any other skip fails the run."""

import os
from collections.abc import Generator
from typing import Any

import pytest

ALLOWED = ("CUDA", "root")
"""Words of which a reason to skip must hold one."""


def _forbid_skip(report: Any) -> Any:
    """Turn a skip for a reason that CI could mend into a failure."""
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(word in reason for word in ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped under CI ({reason}); install what it needs in .ci/run"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return _forbid_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return _forbid_skip((yield))
