"""Runs a job on a cluster somewhere else, by its Ray Jobs API: send, follow what it says, come back with how it ended.

Knows that API; no kind of job.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from segray.errors import ClusterError
from segray.jobs.submission import FOLDER, Submission, parcel

PATIENCE_S = 300.0
"""How long a cluster that stopped answering is asked again while its job is followed."""
START_S = 180.0
"""How long a cluster that has only just started may take until it accepts a job."""
PAUSE_S = 2.0
"""Between two tries."""

Say = Callable[[str], None]
_CHATTY = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env.packaging")
_LOST = (ConnectionError, OSError, aiohttp.ClientError, requests.RequestException, RuntimeError)
"""What the client raises where the cluster, or the way to it, is gone for a while."""


class JobsApi:
    """A cluster's job server."""

    def __init__(self, address: str) -> None:
        """Connect.

        Args:
            address: http(s) address of the cluster's dashboard. A token is taken from RAY_AUTH_TOKEN, else from where
                Ray itself looks for one.

        Raises:
            ClusterError: nobody answers there, or the token is missing or wrong.
        """
        self.address = address
        token = os.environ.get("RAY_AUTH_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else None
        # Ray would let these win over the address that was given.
        for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
            os.environ.pop(name, None)
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
        with self._told():
            self.client = JobSubmissionClient(address, headers=headers)

    def submit(self, submission: Submission, *, with_code: bool = True) -> tuple[str, bool]:
        """The id of the submission's job, and whether it was sent now: an unfinished one is not sent again.

        Raises:
            ClusterError: the cluster refused it.
            ConfigError: the code cannot be sent.
        """
        with self._told():
            earlier = [job for job in self.client.list_jobs() if _same(job, submission)]
        for job in earlier:
            if not job.status.is_terminal():
                return str(job.submission_id), False
        cpus, gpus = submission.driver
        with parcel(submission, with_code=with_code) as folder, self._told():
            environment: dict[str, Any] = {
                "working_dir": str(folder),
                "env_vars": ({"PYTHONPATH": "platform:."} if with_code else {}) | {**submission.variables},
            }
            # Two people who submit the same at once choose the same id, and the cluster takes one of them.
            sent = self._send(
                entrypoint=submission.command(f"{FOLDER}/{submission.config.name}"),
                submission_id=f"{submission.name}-{len(earlier) + 1}",
                runtime_env=environment,
                metadata={"segray": submission.name},
                entrypoint_num_cpus=cpus or None,
                entrypoint_num_gpus=gpus or None,
            )
        return sent, True

    def follow(self, job: str, say: Say) -> int:
        """Tell all that the job prints until it has ended; its exit status.

        A connection that is lost is made again, and goes on where it was lost.

        Raises:
            ClusterError: the cluster did not answer for `PATIENCE_S`.
        """
        num_printed, lost_at = 0, None
        while True:
            heard, details = _NewOutput(num_printed, say), None
            try:
                asyncio.run(self._listen(job, heard))
                details = self.client.get_job_info(job)
                lost_at = None
            except _LOST as error:
                # What was heard until now was lost only now, however long it was followed.
                lost_at = time.monotonic() if lost_at is None or heard.at else lost_at
                if time.monotonic() > lost_at + PATIENCE_S:
                    raise ClusterError(
                        f"{self.address}: lost while following {job} ({error}); the job may go on, and the same"
                        " command follows it again"
                    ) from error
            num_printed = max(num_printed, heard.at)
            if details is not None and details.status.is_terminal():
                return _status(details, say)
            time.sleep(PAUSE_S)

    def stopping(self, job: str) -> str:
        """The shell command that ends a job."""
        mode = "RAY_AUTH_MODE=token " if os.environ.get("RAY_AUTH_TOKEN") else ""
        return f"{mode}ray job stop --address {self.address} {job}"

    def _send(self, **job: Any) -> str:
        """Submit; a cluster that has only just started answers before it can take a job, and is asked again."""
        until = time.monotonic() + START_S
        while True:
            try:
                return str(self.client.submit_job(**job))
            except RuntimeError as error:
                if "No available agent" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(PAUSE_S)

    async def _listen(self, job: str, heard: "_NewOutput") -> None:
        async for text in self.client.tail_job_logs(job):
            heard(text)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the client raises, as one clear error."""
        try:
            yield
        except AuthenticationError as error:
            reason = "a token is needed" if "required" in str(error) else "the token was refused"
            raise ClusterError(f"{self.address}: {reason}: set RAY_AUTH_TOKEN to the cluster's token") from error
        except (ConnectionError, requests.RequestException) as error:
            raise ClusterError(
                f"{self.address}: no Ray job server answers there; give --address as http://HOST:8265, and forward"
                " the port where the cluster is not reached directly"
            ) from error
        except RuntimeError as error:
            raise ClusterError(f"{self.address}: refused: {str(error).splitlines()[0]}") from error


class _NewOutput:
    """Printer of what comes after the first characters: a connection that is made again begins at the start."""

    def __init__(self, num_printed: int, say: Say) -> None:
        self.num_printed, self.say, self.at = num_printed, say, 0

    def __call__(self, text: str) -> None:
        new = text[max(self.num_printed - self.at, 0) :]
        self.at += len(text)
        if new:
            self.say(new)


def _same(job: JobDetails, submission: Submission) -> bool:
    return (job.metadata or {}).get("segray") == submission.name


def _status(job: JobDetails, say: Say) -> int:
    """The command's own exit status where it came to have one."""
    if job.status == JobStatus.SUCCEEDED:
        return 0
    code = job.driver_exit_code
    if job.status == JobStatus.STOPPED or not code:
        say(f"{job.submission_id}: {job.status.lower()}: {job.message}\n")
        return 1
    return code if code > 0 else 128 - code
