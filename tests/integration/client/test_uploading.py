"""Local files of a request: sent once it was found good, with progress on a terminal, and named in what is asked."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from tests.integration.client.command_line import run, run_on_terminal
from tests.integration.client.fake_site import Site, operation
from virtyard.api.inventory.v1 import image_pb2, upload_service_pb2
from virtyard.api.jobs.v1 import operation_pb2
from virtyard.api.operations.v1 import import_image_pb2

IMPORT = "/virtyard.api.operations.v1.OperationService/ImportImage"
WATCH = "/virtyard.api.jobs.v1.JobService/WatchOperation"
UPLOAD = "/virtyard.api.inventory.v1.UploadService/Upload"
WORDS = ("image", "import", "installer", "--repository", "shared", "--format", "iso", "--no-wait")
CONTENT = os.urandom((5 << 20) + 11)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A local file."""
    path = tmp_path / "installer.iso"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def came(site: Site) -> list[bytes]:
    """What the site got; it takes uploads and imports."""
    parts: list[bytes] = []

    def take(requests: list[bytes]) -> Any:
        messages = [upload_service_pb2.UploadRequest.FromString(data) for data in requests]
        assert messages[0].header.size_bytes == len(CONTENT)
        parts.extend(message.data for message in messages[1:])
        digest = hashlib.sha256(b"".join(parts)).hexdigest()
        return upload_service_pb2.UploadResponse(name="uploads/0a", size_bytes=len(CONTENT), sha256=digest)

    site.collected[UPLOAD] = take
    site.answers[IMPORT] = operation(state=operation_pb2.OPERATION_STATE_SUCCEEDED, response=image_pb2.Image())
    return parts


def refusal(field: str) -> status_pb2.Status:
    """A refusal that names a field."""
    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message=f"{field}: is wrong")
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field=field, description="is wrong")
    status.details.add().Pack(bad)
    return status


async def test_a_file_is_uploaded_and_named(site: Site, came: list[bytes], file: Path) -> None:
    """First the request is tried without it; then the bytes go, a MiB at a time; then it is submitted for good."""
    ended = await run(site, *WORDS, "--file", str(file))
    assert ended.code == 0, ended.err
    assert b"".join(came) == CONTENT
    assert max(map(len, came)) == 1 << 20
    tried, submitted = site.requests(import_image_pb2.ImportImageRequest)
    assert (tried.validate_only, tried.upload) == (True, "uploads/preview")
    assert (submitted.validate_only, submitted.upload) == (False, "uploads/0a")
    assert submitted.request_id == tried.request_id


async def test_progress_is_shown_on_a_terminal_and_nowhere_else(site: Site, came: list[bytes], file: Path) -> None:
    """The file, a bar and bytes; in a pipe nothing of it stands between the lines."""
    shown = await run_on_terminal(site, *WORDS, "--file", str(file))
    assert "Uploading installer.iso" in shown.out
    assert "100 %" in shown.out
    assert "5 MiB of 5 MiB" in shown.out
    assert "Uploading" not in (await run(site, *WORDS, "--file", str(file))).out


async def test_nothing_is_uploaded_for_what_is_refused(site: Site, came: list[bytes], file: Path) -> None:
    """A name that is taken is told before gigabytes are sent; a preview sends none either."""
    preview = await run(site, *WORDS, "--file", str(file), "--preview")
    assert preview.code == 0, preview.err
    site.answers[IMPORT] = refusal("image_id")
    ended = await run(site, *WORDS, "--file", str(file))
    assert ended.code == 2
    assert "IMAGE-ID" in ended.err
    assert came == []


async def test_an_upload_that_is_there_is_named_as_it_is(site: Site, came: list[bytes]) -> None:
    """What begins with uploads/ is no file."""
    assert (await run(site, *WORDS, "--file", "uploads/0b")).code == 0
    (submitted,) = site.requests(import_image_pb2.ImportImageRequest)
    assert submitted.upload == "uploads/0b"
    assert came == []


async def test_a_refused_upload_and_a_missing_file_are_told(site: Site, came: list[bytes], file: Path) -> None:
    """With the exit code of a request that must be mended; nothing is submitted."""
    missing = await run(site, *WORDS, "--file", str(file) + "x")
    assert missing.code == 2
    assert "--file takes a file" in missing.err
    site.collected[UPLOAD] = lambda _: refusal("header.size_bytes")
    ended = await run(site, *WORDS, "--file", str(file))
    assert ended.code == 2
    assert "header.size_bytes: is wrong" in ended.err
    assert [request.validate_only for request in site.requests(import_image_pb2.ImportImageRequest)] == [True]


async def test_a_file_that_was_changed_on_its_way_is_not_used(site: Site, came: list[bytes], file: Path) -> None:
    """The digest of what came is compared with that of what was read."""
    site.collected[UPLOAD] = lambda _: upload_service_pb2.UploadResponse(name="uploads/0a", sha256="0" * 64)
    ended = await run(site, *WORDS, "--file", str(file))
    assert ended.code == 1
    assert "was changed on its way" in ended.err
    assert len(site.requests(import_image_pb2.ImportImageRequest)) == 1


async def test_only_one_source_can_be_given(site: Site, file: Path) -> None:
    """The proto's oneof is that of the command line."""
    ended = await run(site, *WORDS, "--file", str(file), "--server-path", "/srv/installer.iso")
    assert ended.code == 2
    assert "only one of" in ended.err
    help_text = (await run(site, "image", "import", "--help")).out
    assert "--file FILE" in help_text
    assert "A local file is uploaded first." in " ".join(help_text.split())
