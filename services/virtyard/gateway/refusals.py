"""The refusals: an error as HTTP tells it, before a call has begun or a WebSocket was opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from virtyard.gateway.connect import error_json
from virtyard.gateway.port import App
from virtyard.kernel.errors import (
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unsupported,
    VirtyardError,
    WrongState,
)

__all__ = ["refuse_call", "refuse_socket"]

_STATUS: Final[Mapping[type[VirtyardError], int]] = {
    Unauthenticated: 401,
    PermissionDenied: 403,
    NotFound: 404,
    WrongState: 409,
    Unsupported: 501,
    Unavailable: 503,
}


def refuse_call(error: VirtyardError) -> App:
    """Return what refuses a call before its body is read, in the words of Connect."""
    return Response(error_json(error), _status_of(error), media_type="application/json")


def refuse_socket(error: VirtyardError) -> App:
    """Return what refuses a WebSocket that was not accepted yet, with the error's message as text."""

    async def refuse(_: Any, __: Any, send: Any) -> None:
        kind = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "websocket.http.response.start", "status": _status_of(error), "headers": kind})
        await send({"type": "websocket.http.response.body", "body": f"{error.message}\n".encode()})

    return refuse


def _status_of(error: VirtyardError) -> int:
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
