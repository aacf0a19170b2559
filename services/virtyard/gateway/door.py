"""The door: who is let in over HTTP, and what every answer says to the browser.

A browser is here by its cookie, and only from a page of this very address; a program by its API token. The name that
was dialled must be one of this machine's loopback: no other site's name can be made to lead here (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from virtyard.gateway.connect import CALLER
from virtyard.gateway.policy import policy
from virtyard.gateway.port import App
from virtyard.gateway.refusals import refuse_call, refuse_socket
from virtyard.gateway.sessions import SESSION_LIFETIME, Grant, Sessions
from virtyard.kernel.errors import PermissionDenied, Unauthenticated, VirtyardError

__all__ = ["Door", "bearer_of"]

_BEARER: Final = "bearer "
_SAFE: Final = ("GET", "HEAD")


class Door:
    """An ASGI application before the others."""

    def __init__(
        self, sessions: Sessions, port: int, methods: Collection[str], connect: App, files: App, displays: App
    ) -> None:
        """Let requests through to three applications.

        Args:
            sessions: knows who is let in.
            port: on which all this is served.
            methods: the paths of the public methods.
            connect: answers them.
            files: answers everything else that is read; open to everybody, as it holds no secret.
            displays: answers WebSockets.
        """
        self._sessions = sessions
        self._hosts = frozenset(f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]"))
        # Cookies belong to a host, whatever the port; two sites on one machine must not sign each other out.
        self._cookie = f"virtyard_session_{port}"
        self._methods = methods
        self._connect = connect
        self._files = files
        self._displays = displays

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or refuse it."""
        headers = Headers(scope=scope)
        if not self.knows_host(headers.get("host", "")):
            text = "this name does not lead here; use the address that `virtyard console` prints"
            await PlainTextResponse(text, 421)(scope, receive, _guarded(send, ""))
            return
        guarded = _guarded(send, headers["host"])
        if scope["type"] == "websocket":
            await self._let_in(self._displays, headers, scope, receive, send, refuse=refuse_socket)
        elif scope["path"] in self._methods:
            await self._let_in(self._connect, headers, scope, receive, guarded, refuse=refuse_call)
        elif scope["method"] not in _SAFE:
            await PlainTextResponse("there is no such method", 404)(scope, receive, guarded)
        elif scope["method"] == "GET" and (link := _link_of(scope)):
            await self._open(link)(scope, receive, guarded)
        else:
            await self._files(scope, receive, guarded)

    async def _let_in(
        self, app: App, headers: Headers, scope: Any, receive: Any, send: Any, *, refuse: Callable[[VirtyardError], App]
    ) -> None:
        try:
            grant = self.grant_of(headers)
        except VirtyardError as error:
            await refuse(error)(scope, receive, send)
            return
        CALLER.set(grant)
        await app(scope, receive, send)

    def knows_host(self, host: str) -> bool:
        """Return whether a request was sent to a name of this port."""
        return host in self._hosts

    def grant_of(self, headers: Mapping[str, str]) -> Grant:
        """Return what a request is granted: by its API token, or by the cookie of a page of this address.

        Raises:
            Unauthenticated: neither is there, or it is void.
            PermissionDenied: it comes from another site's page.
        """
        origin = headers.get("origin")
        own = origin == f"http://{headers.get('host')}"
        if origin is not None and not own:
            raise PermissionDenied("pages of other addresses may not ask here")
        api_token = bearer_of(headers)
        if api_token:
            return self._sessions.of_bearer(api_token)
        grant = self._sessions.of_cookie(self._secret(headers.get("cookie", "")))
        if not own and headers.get("sec-fetch-site") != "same-origin":
            raise PermissionDenied("a call by cookie must say its Origin, as browsers do; programs use an API token")
        return grant

    def _secret(self, cookies: str) -> str:
        try:
            found = SimpleCookie(cookies).get(self._cookie)
        except CookieError:
            found = None
        return found.value if found is not None else ""

    def _open(self, link: str) -> Response:
        """Return what answers the opening of a link: a session, and the way to the console without the secret."""
        try:
            secret, _ = self._sessions.open_link(link)
        except VirtyardError as error:
            return PlainTextResponse(f"{error.message}\n", 403 if isinstance(error, Unauthenticated) else 503)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            self._cookie, secret, max_age=round(SESSION_LIFETIME.total_seconds()), httponly=True, samesite="strict"
        )
        return answer


def bearer_of(headers: Mapping[str, str | bytes]) -> str:
    """Return the API token that a request or a call shows; empty if none."""
    shown = headers.get("authorization", "")
    if not isinstance(shown, str) or not shown.lower().startswith(_BEARER):
        return ""
    return shown[len(_BEARER) :].strip()


def _link_of(scope: Any) -> str:
    """Return the secret of the link that is opened; empty if none is."""
    if scope["path"] != "/":
        return ""
    query: str = scope["query_string"].decode("latin-1")
    return parse_qs(query).get("token", [""])[0]


def _guarded(send: Any, host: str) -> Any:
    """Return a `send` that adds to every answer what browsers are to keep to."""

    async def guarded(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _GUARDS.items():
                headers.setdefault(name, value)
            headers.setdefault("content-security-policy", policy(host))
        await send(message)

    return guarded


_GUARDS: Final = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
