"""The console's one page: each time that it is served its policy names another nonce, and the page carries it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from virtyard.gateway.files import ConsoleFiles

PAGE = '<meta name="style-nonce" nonce="STYLE_NONCE" />'


async def serve(folder: Path, path: str) -> tuple[dict[str, str], str]:
    """Return headers and body of the answer to a GET."""
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        raise AssertionError("a GET has no body")

    scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"host", b"127.0.0.1:7480")], "root_path": ""}
    await ConsoleFiles(folder)(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in said[0]["headers"]}
    return headers, b"".join(message.get("body", b"") for message in said[1:]).decode()


@pytest.mark.parametrize("path", ["/", "/jobs", "/objects/servers/s1"])
async def test_a_page_carries_the_nonce_of_its_policy_and_never_the_same_twice(tmp_path: Path, path: str) -> None:
    """The placeholder is gone, style-src names the page's nonce, and the next page has another."""
    (tmp_path / "index.html").write_text(PAGE)
    nonces = set()
    for _ in range(2):
        headers, body = await serve(tmp_path, path)
        found = re.search(r"style-src 'self' 'nonce-([\w-]{20,})'", headers["content-security-policy"])
        assert found is not None
        assert body == PAGE.replace("STYLE_NONCE", found[1])
        nonces.add(found[1])
    assert len(nonces) == 2
