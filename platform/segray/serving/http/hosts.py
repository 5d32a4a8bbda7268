"""Hosts by whose names an endpoint without keys answers: those of this machine alone."""

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from segray.config.serve import LOOPBACK
from segray.serving.http.problems import ProblemError, answer


class OwnHosts:
    """Middleware: refuses requests that name another host than this machine.

    Without keys, an endpoint on a loopback address is for this machine alone. A page of the web that has its own name
    resolve to 127.0.0.1 (DNS rebinding) could call it from a browser here; its requests name the page's host.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        host = Headers(scope=scope).get("host", "") if scope["type"] == "http" else ""
        if not host or _is_loopback(host):
            await self._app(scope, receive, send)
            return
        detail = "without keys, this endpoint answers on this machine's own names: localhost, 127.0.0.1 and [::1]"
        await answer(ProblemError(421, "another-host", detail))(scope, receive, send)


def _is_loopback(host: str) -> bool:
    """Return whether a Host header names this machine as seen from itself."""
    name = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
    name = name.strip("[]").lower()
    return name in LOOPBACK or name.endswith(".localhost") or re.fullmatch(r"127(\.[0-9]{1,3}){3}", name) is not None
