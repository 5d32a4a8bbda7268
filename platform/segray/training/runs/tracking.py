"""Experiment tracking beside the run's own metrics. It may fail, the run may not: the first failure ends tracking.

Knows wandb, which is loaded only where it is asked for.
"""

import logging
import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from segray.config.base import plain
from segray.config.train import Tracking
from segray.storage import files

_log = logging.getLogger(__name__)

_START_S = 30.0
"""Longest wait for a server before tracking is given up."""
_END_S = 60.0
"""Longest wait for the last figures to arrive."""


class Tracker(Protocol):
    """Where figures go too."""

    def log(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Figures after `step` updates; never raises, never waits for a network."""
        ...

    def close(self) -> None:
        """The run is over."""
        ...


class NoTracker:
    """Tracking that is off."""

    def log(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class WandbTracker:
    """A wandb run; one that was begun before goes on under its name."""

    def __init__(self, settings: Tracking, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        """Begin. Raises what wandb raises."""
        import wandb  # noqa: PLC0415 - a second of imports that other runs need not wait for

        online = settings.wandb == "online"
        if not online:
            # Its own error reports and telemetry would go out all the same.
            os.environ["WANDB_ERROR_REPORTING"] = "false"
        if online and not wandb.api.api_key:
            # It would ask on the terminal, and wait.
            _log.warning("no wandb key is known: tracking is offline; `wandb sync %s/wandb/offline-*` sends it", folder)
            online = False
        folder.mkdir(parents=True, exist_ok=True)
        self._run: Any = wandb.init(
            project=settings.project,
            name=name,
            id=name,
            resume="allow" if online else None,
            dir=str(folder),
            config=dict(config),
            settings=wandb.Settings(
                mode="online" if online else "offline", silent=True, console="off", init_timeout=_START_S
            ),
        )

    def log(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        if self._run is None:
            return
        try:
            self._run.log({f"{kind}/{name}": value for name, value in values.items()}, step=step)
        except Exception as error:
            self._run = None
            _say(error)

    def close(self) -> None:
        """See `Tracker`."""
        if self._run is not None:
            ending = threading.Thread(target=_finish, args=(self._run,), daemon=True)
            ending.start()
            ending.join(_END_S)
            self._run = None


def open_tracker(settings: Tracking, run: str, name: str, config: Any, *, leads: bool) -> Tracker:
    """The tracker that the settings ask for; on all workers but the leading one, and where it fails, none.

    Args:
        settings: of the config.
        run: the run's folder; what is tracked offline lies there, or in a temporary folder if that is no local one.
        name: the run's.
        config: what the run was asked to do, a config.
        leads: this is the leading worker.
    """
    if settings.wandb == "off" or not leads:
        return NoTracker()
    folder = Path(files.absolute(run)) if files.scheme(run) == "" else Path(tempfile.gettempdir(), "segray", name)
    try:
        return WandbTracker(settings, folder, name, plain(config))
    except Exception as error:
        _say(error)
        return NoTracker()


def _finish(run: Any) -> None:
    try:
        run.finish()
    except Exception as error:
        _say(error)


def _say(error: Exception) -> None:
    _log.warning("tracking is off from here on (%s: %s); metrics.jsonl goes on", type(error).__name__, error)
