"""The query of a request: a parameter that its route does not have is refused. What parameters mean, routes know."""

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import Request

from segray.serving.http.problems import MOST_FLAWS, InvalidField, ProblemError

_NAME_LENGTH: Final = 200
"""Of a parameter's name, as it is said back."""


def only_query(*known: str) -> Callable[[Request], Awaitable[None]]:
    """What a route depends on so that a misspelled parameter is not one that was never given.

    It raises ProblemError: 422, naming each parameter of the query that the route does not have, or has twice.
    """

    async def check(request: Request) -> None:
        flaws = [
            InvalidField(
                where=f"query.{name[:_NAME_LENGTH]}",
                reason="extra_forbidden",
                detail=f"there is no such parameter, only {', '.join(known)}" if known else "there are no parameters",
            )
            for name in dict.fromkeys(request.query_params)
            if name not in known
        ]
        flaws += [
            InvalidField(where=f"query.{name}", reason="repeated", detail="is given more than once")
            for name in known
            if len(request.query_params.getlist(name)) > 1
        ]
        if flaws:
            detail = "; ".join(f"{flaw.where}: {flaw.detail}" for flaw in flaws[:3])
            raise ProblemError(422, "invalid", detail, flaws=flaws[:MOST_FLAWS])

    return check
