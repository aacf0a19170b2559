"""The files of the web console: one page for every place in it, and assets that never change under their names."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from typing_extensions import override

from virtyard.gateway.policy import policy

__all__ = ["CONSOLE", "ConsoleFiles"]

CONSOLE: Final = Path(__file__).with_name("console")
"""Where the build of clients/web puts the console, and where the wheel has it."""

_INDEX: Final = "index.html"
_NONCE: Final = "STYLE_NONCE"
"""What the page says in place of the nonce, which is another one each time that it is served."""
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"

_NOT_BUILT: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Virtyard</title>
<h1>The console is not built</h1>
<p>This Virtyard runs from its sources, and nobody has built the web console yet. To build it:</p>
<pre>make console</pre>
<p>Then load this page again. Everything else is here: the command line, gRPC, and
<code>curl</code> as <code>virtyard console --token</code> explains.</p>
</html>
"""


class ConsoleFiles(StaticFiles):
    """An ASGI application over a folder that may be filled, or emptied, while it runs."""

    def __init__(self, folder: Path) -> None:
        """Serve this folder."""
        super().__init__(directory=folder, check_dir=False)
        self._folder = folder

    @override
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a GET or HEAD."""
        if not (self._folder / _INDEX).is_file():
            await HTMLResponse(_NOT_BUILT, 200 if _is_page(scope) else 404)(scope, receive, send)
            return
        try:
            answer = await self.get_response(self.get_path(scope), scope)
        except HTTPException as error:
            answer = PlainTextResponse(error.detail, error.status_code)
        await answer(scope, receive, send)

    @override
    async def get_response(self, path: str, scope: Any) -> Response:
        """Return a file; the one page for whatever is no file and looks like a place in the console."""
        asset = path.startswith("assets/")
        if path in (".", _INDEX):
            return self._page(scope)
        try:
            answer = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or not _is_page(scope):
                raise
            return self._page(scope)
        answer.headers["cache-control"] = _FOR_EVER if asset and answer.status_code in (200, 304) else _ASK_AGAIN
        return answer

    def _page(self, scope: Any) -> Response:
        """Return the one page, whose style elements are known by a nonce; it is never kept."""
        nonce = secrets.token_urlsafe(16)
        text = (self._folder / _INDEX).read_text(encoding="utf-8").replace(_NONCE, nonce)
        host = Headers(scope=scope).get("host", "")
        headers = {"content-security-policy": policy(host, nonce), "cache-control": _ASK_AGAIN}
        return HTMLResponse(text, headers=headers)


def _is_page(scope: Any) -> bool:
    """Return whether a place in the console is asked for rather than a file; names of objects may have dots."""
    path: str = scope["path"]
    if path.startswith("/assets/"):
        return False
    return "." not in path.rpartition("/")[2] or "text/html" in Headers(scope=scope).get("accept", "")
