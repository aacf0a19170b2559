"""Uploads: staged whole or not at all, read from any offset on, and gone when they are used or too old."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.contract.inventory.samples import create, effect, repository, update
from tests.contract.inventory.served import Served
from tests.contract.inventory.test_reads import execute
from tests.fakes.clock import FakeClock
from virtyard.api.inventory.v1 import image_pb2, upload_service_pb2, upload_service_pb2_grpc
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.inventory.uploads import Limits, Uploads
from virtyard.kernel.errors import CapacityExhausted, InvalidRequest, NotFound, PermissionDenied, Unavailable
from virtyard.runtime.status import errors_named

CONTENT = os.urandom(3 << 20) + b"end"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
Request = upload_service_pb2.UploadRequest


def header(size: int = len(CONTENT), sha256: str = "") -> upload_service_pb2.UploadRequest:
    """Return the first message of an upload."""
    return Request(header=upload_service_pb2.UploadHeader(size_bytes=size, sha256=sha256))


async def messages(*parts: upload_service_pb2.UploadRequest | bytes) -> AsyncIterator[Any]:
    """Yield messages; bytes become data, a MiB at a time."""
    for part in parts:
        if isinstance(part, bytes):
            for at in range(0, len(part), 1 << 20):
                yield Request(data=part[at : at + (1 << 20)])
        else:
            yield part


async def send(served: Served, *parts: upload_service_pb2.UploadRequest | bytes, stub: Any = None) -> Any:
    """Upload these messages by a stub, the operator's if no other is given, and return the answer.

    A refusal that comes while a message is being sent is lost in grpcio's client: it is asked for again.
    """
    while True:
        try:
            with errors_named():
                return await (stub or served.uploads).Upload(messages(*parts), timeout=20)
        except Unavailable as error:
            if "while it was being sent" not in error.message:
                raise


async def fetch(served: Served, upload: str, offset: int = 0) -> bytes:
    """Read an upload as an agent does."""
    request = host_service_pb2.ReadUploadRequest(upload=upload, offset_bytes=offset)
    with errors_named():
        answers = [answer async for answer in served.host("s").ReadUpload(request, timeout=20)]
    assert {answer.size_bytes for answer in answers} == {len(CONTENT)}
    return b"".join(answer.data for answer in answers)


def staged(tmp_path: Path) -> list[str]:
    """Return what lies in the folder of the uploads that are served."""
    return sorted(path.suffix for path in (tmp_path / "state" / "uploads").iterdir())


async def test_an_upload_is_read_from_any_offset_on(served: Served, tmp_path: Path) -> None:
    """Bytes, size and digest are those that were sent; the end itself may be asked for."""
    answer = await send(served, header(sha256=DIGEST.upper()), CONTENT)
    assert (answer.size_bytes, answer.sha256) == (len(CONTENT), DIGEST)
    assert staged(tmp_path) == [".bin", ".json"]
    for offset in (0, 1, (1 << 20) + 7, len(CONTENT) - 1, len(CONTENT)):
        assert await fetch(served, answer.name, offset) == CONTENT[offset:]
    with pytest.raises(InvalidRequest) as refusal:
        await fetch(served, answer.name, len(CONTENT) + 1)
    assert refusal.value.violations[0].field == "offset_bytes"


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ((), "header"),
        ((Request(data=b"x"),), "header"),
        ((header(0),), "header.size_bytes"),
        ((header(-1),), "header.size_bytes"),
        ((header((1 << 40) + 1),), "header.size_bytes"),
        ((header(sha256="abc"), CONTENT), "header.sha256"),
        ((header(sha256="0" * 64), CONTENT), "header.sha256"),
        ((header(len(CONTENT) + 1), CONTENT), "header.size_bytes"),
        ((header(len(CONTENT) - 1), CONTENT), "header.size_bytes"),
        ((header(), header()), "data"),
        ((header(8 << 20), Request(data=bytes((4 << 20) + 1))), "data"),
    ],
)
async def test_a_malformed_upload_is_refused_by_field(
    served: Served, tmp_path: Path, parts: tuple[upload_service_pb2.UploadRequest | bytes, ...], field: str
) -> None:
    """The field is named, and nothing of it is left."""
    with pytest.raises(InvalidRequest) as refusal:
        await send(served, *parts)
    assert refusal.value.violations[0].field == field
    assert staged(tmp_path) == []


async def test_an_upload_that_is_cut_off_leaves_nothing(served: Served, tmp_path: Path) -> None:
    """Its caller leaves in the middle; the part that came is removed."""
    came = asyncio.Event()

    async def endless() -> AsyncIterator[upload_service_pb2.UploadRequest]:
        yield header()
        yield Request(data=CONTENT[: 1 << 20])
        came.set()
        await asyncio.Event().wait()

    call = served.uploads.Upload(endless())
    async with asyncio.timeout(10):
        await came.wait()
        while staged(tmp_path) != [".part"]:
            await asyncio.sleep(0.01)
        call.cancel()
        while staged(tmp_path):
            await asyncio.sleep(0.01)


async def test_only_who_may_change_things_uploads_and_only_agents_read(served: Served) -> None:
    """A viewer and an agent upload nothing; a person reads no upload back."""
    answer = await send(served, header(), CONTENT)
    for identity in ("user/viewer", "agent/s"):
        stub = upload_service_pb2_grpc.UploadServiceStub(served.dial(identity))
        with pytest.raises(PermissionDenied):
            await send(served, header(), CONTENT, stub=stub)
    request = host_service_pb2.ReadUploadRequest(upload=answer.name)
    path = "/virtyard.internal.inventory.v1.HostService/ReadUpload"
    with pytest.raises(PermissionDenied), errors_named():
        await served.dial("user/operator").unary_stream(path, _encode, bytes)(request, timeout=20).read()


def _encode(request: host_service_pb2.ReadUploadRequest) -> bytes:
    """Return the bytes of a request."""
    return request.SerializeToString()


@pytest.mark.parametrize("name", ["uploads/" + "0" * 32, "uploads/../inventory", "images/x", ""])
async def test_an_upload_that_is_not_there_is_told(served: Served, name: str) -> None:
    """Whatever the name is, nothing but an upload is read by it."""
    with pytest.raises(NotFound):
        await fetch(served, name)


async def test_an_upload_goes_when_its_image_is_recorded(served: Served, tmp_path: Path) -> None:
    """Another one stays; changing the image later removes nothing that is not there."""
    used, other = await send(served, header(), CONTENT), await send(served, header(), CONTENT)
    image = image_pb2.Image(name="images/a", uid="uid-a", repository="repositories/r", source=used.name)
    await execute(served, effect("1/1/1", create(repository("r"))))
    await execute(served, effect("2/1/1", create(image)))
    async with asyncio.timeout(10):
        while staged(tmp_path) != [".bin", ".json"]:
            await asyncio.sleep(0.01)
    assert await fetch(served, other.name) == CONTENT
    with pytest.raises(NotFound):
        await fetch(served, used.name)
    image.description = "installer"
    await execute(served, effect("3/1/1", update(image, "description")))


# --- the uploads themselves -------------------------------------------------------------------------------------------


async def receive(uploads: Uploads) -> Any:
    """Take one upload."""
    return await uploads.receive(messages(header(), CONTENT))


async def read(uploads: Uploads, name: str) -> list[bytes]:
    """Read an upload."""
    return [answer.data async for answer in uploads.read(name, 0)]


@pytest.fixture
async def uploads(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Uploads]:
    """Uploads that wait an hour for their imports."""
    made = Uploads(tmp_path / "uploads", clock, Limits(lifetime=timedelta(hours=1)))
    await made.open()
    yield made
    made.close()


async def test_an_old_upload_is_removed(uploads: Uploads, clock: FakeClock, tmp_path: Path) -> None:
    """Not before its time, and not while it is being read."""
    answer = await receive(uploads)
    assert answer.expire_time.ToDatetime(clock.now().tzinfo) == clock.now() + timedelta(hours=1)
    clock.advance(3599)
    await uploads.sweep()
    reading = uploads.read(answer.name, 0)
    await anext(reading)
    clock.advance(1)
    await uploads.sweep()
    assert len([part async for part in reading]) == 3
    await uploads.sweep()
    assert not list((tmp_path / "uploads").iterdir())


async def test_a_start_keeps_whole_uploads_and_removes_the_rest(
    uploads: Uploads, clock: FakeClock, tmp_path: Path
) -> None:
    """What was coming when the process was killed is gone, at each place where that can be; what is old goes too."""
    kept = await receive(uploads)
    (tmp_path / "uploads" / f"{'1' * 32}.part").write_bytes(b"cut")
    (tmp_path / "uploads" / f"{'2' * 32}.bin").write_bytes(b"without a record")
    again = Uploads(tmp_path / "uploads", clock)
    await again.open()
    assert b"".join(await read(again, kept.name)) == CONTENT
    assert len(list((tmp_path / "uploads").iterdir())) == 2
    clock.advance(3600)
    await again.open()
    assert not list((tmp_path / "uploads").iterdir())
    again.close()


async def test_what_does_not_fit_is_refused_with_its_sizes(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What must stay free stays free, counting what else is coming."""
    # A file system whose free space nobody else on this machine changes: 16 MiB.
    space = list(os.statvfs(tmp_path))
    space[0], space[1], space[4] = 4096, 4096, 4096
    monkeypatch.setattr("virtyard.inventory.uploads.os.statvfs", lambda _: os.statvfs_result(space))
    uploads = Uploads(tmp_path / "uploads", clock, Limits(spare_bytes=4 << 20))
    await uploads.open()
    waiting = asyncio.Event()

    async def slow() -> AsyncIterator[Any]:
        yield header(10 << 20)
        waiting.set()
        await asyncio.Event().wait()

    first = asyncio.ensure_future(uploads.receive(slow()))
    await waiting.wait()
    with pytest.raises(CapacityExhausted) as refusal:
        await receive(uploads)
    assert refusal.value.violations[0].field == "header.size_bytes"
    assert f"{len(CONTENT)} bytes are asked for, {2 << 20} are free" in refusal.value.message
    first.cancel()
    await asyncio.wait([first])
    assert (await receive(uploads)).size_bytes == len(CONTENT)
    uploads.close()


async def test_readers_are_broken_off_at_the_end(uploads: Uploads) -> None:
    """They are told to come again, and do not keep the process from stopping."""
    answer = await receive(uploads)
    reading = uploads.read(answer.name, 0)
    await anext(reading)
    uploads.end_streams()
    with pytest.raises(Unavailable):
        await anext(reading)
