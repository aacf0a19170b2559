"""The console's files: what is there, what is a place in the console, and what browsers may keep."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from virtyard.gateway.files import ConsoleFiles

NEVER, FOR_EVER = "no-cache", "public, max-age=31536000, immutable"


async def get(folder: Path, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Ask the files for a path, and return status, headers and body."""
    sent: list[Any] = []
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": given}

    async def receive() -> Any:
        return await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    await ConsoleFiles(folder)(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A console, and a secret beside it."""
    folder = tmp_path / "console"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>console</title>")
    (folder / "favicon.svg").write_text("<svg/>")
    (folder / "assets" / "index-3f2a.js").write_text("run()")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


async def test_one_page_is_every_place_in_the_console(built: Path) -> None:
    """Names of objects may have dots; what a browser loads for the page is no place."""
    for path in ("/", "/index.html", "/jobs", "/virtualMachines/web"):
        status, headers, body = await get(built, path)
        assert (status, headers["cache-control"], body) == (200, NEVER, b"<title>console</title>")
    assert (await get(built, "/servers/s1.example.org"))[0] == 404
    assert (await get(built, "/servers/s1.example.org", accept="text/html,*/*"))[0] == 200
    assert (await get(built, "/assets/index-0000.js", accept="text/html"))[0] == 404


async def test_only_assets_are_kept(built: Path) -> None:
    """Their names change with what is in them; everything else is asked for again, by its etag."""
    assert (await get(built, "/assets/index-3f2a.js"))[1]["cache-control"] == FOR_EVER
    status, headers, _ = await get(built, "/favicon.svg")
    assert (status, headers["cache-control"]) == (200, NEVER)
    assert (await get(built, "/favicon.svg", if_none_match=headers["etag"]))[0] == 304


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/assets/../../secret.txt", "/..%2fsecret.txt", "//etc/passwd", "/\0"]
)
async def test_nothing_beside_the_folder_is_read(built: Path, path: str) -> None:
    """However a path is written, it leads to a file of the console, to the page, or nowhere."""
    _, _, body = await get(built, path)
    assert b"secret" not in body
    assert b"root:" not in body


async def test_a_console_that_is_not_built_says_how_to_build_it(tmp_path: Path) -> None:
    """Until it is built, and as soon as it is gone again; no asset answers with a page."""
    status, headers, body = await get(tmp_path / "none", "/jobs")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"make console" in body
    assert (await get(tmp_path / "none", "/assets/index.js"))[0] == 404
