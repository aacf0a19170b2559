"""Uploads: files that clients sent, staged until the import of an image has read them.

::

    uploads/ID.part                 a file that is coming; what is found at a start was cut off, and is removed
    uploads/ID.bin  uploads/ID.json a file that came whole, and its record, which is there last and goes first

An upload is no object: nothing depends on it. It goes when an image that was imported from it is recorded, or when its
time is over.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from virtyard.api.inventory.v1 import upload_service_pb2
from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.inventory.staging import Staged
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import CapacityExhausted, FieldViolation, InvalidRequest, NotFound, Unavailable
from virtyard.runtime.durable_file import Record, read_record, remove_file
from virtyard.runtime.threads import Threads

__all__ = ["COLLECTION", "Limits", "Uploads"]

COLLECTION = "uploads"
_ID = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_SIZE_FIELD = "header.size_bytes"
_LARGEST_PART = 4 << 20
_CHUNK = 1 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What uploads may take."""

    largest_bytes: int = 1 << 40
    """The size of one file."""
    spare_bytes: int = 256 << 20
    """What must stay free on the file system, for the database beside them."""
    lifetime: timedelta = timedelta(hours=24)
    """How long a file waits for its import."""


class Uploads:
    """The uploads of one inventory, below one folder."""

    def __init__(self, folder: Path, clock: Clock, limits: Limits | None = None) -> None:
        """Use the folder, which `open` makes if it is missing."""
        self._folder = folder
        self._clock = clock
        self._limits = limits or Limits()
        self._threads = Threads("uploads", workers=4)
        self._coming: dict[str, int] = {}
        self._read: Counter[str] = Counter()
        self._closing = False

    async def open(self) -> None:
        """Remove what was cut off, and what is too old."""

        def clear() -> None:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for path in list(self._folder.iterdir()):
                whole = path.suffix == ".bin" and path.with_suffix(".json").exists()
                if path.suffix != ".json" and not whole:
                    remove_file(path)

        await self._threads.run(clear)
        await self.sweep()

    def end_streams(self) -> None:
        """Break off whoever reads; they go on where they were once the inventory is back."""
        self._closing = True

    def close(self) -> None:
        """Start nothing more."""
        self._closing = True
        self._threads.close()

    async def sweep(self) -> None:
        """Remove what is too old and is not being read."""
        now = self._clock.now()
        for path in await self._threads.run(lambda: sorted(self._folder.glob("*.json"))):
            record = await self._threads.run(read_record, path)
            if record is not None and datetime.fromisoformat(record["expires"]) <= now and not self._read[path.stem]:
                await self._threads.run(self._drop, path.stem)
                _log.info("%s/%s expired, as no import used it", COLLECTION, path.stem)

    async def receive(
        self, requests: AsyncIterator[upload_service_pb2.UploadRequest]
    ) -> upload_service_pb2.UploadResponse:
        """Take a file; when it fails or is cut off, nothing of it is left.

        Raises:
            InvalidRequest: it is not what its header says, or a message is malformed.
            CapacityExhausted: it does not fit; the refusal names `header.size_bytes` and the sizes.
        """
        header = await self._header(requests)
        identifier = secrets.token_hex(16)
        self._coming[identifier] = header.size_bytes
        staged = Staged(self._folder / f"{identifier}.part")
        try:
            await self._check_room(header.size_bytes)
            await self._threads.run(staged.open)
            async for request in requests:
                await self._threads.run(staged.write, _data(request, header.size_bytes - staged.size))
                self._coming[identifier] = header.size_bytes - staged.size
            _check_whole(staged, header)
            expires = self._clock.now() + self._limits.lifetime
            await self._threads.run(staged.finish, expires)
        except BaseException:
            await self._threads.run(staged.drop)
            raise
        finally:
            del self._coming[identifier]
        answer = upload_service_pb2.UploadResponse(
            name=f"{COLLECTION}/{identifier}", size_bytes=staged.size, sha256=staged.digest.hexdigest()
        )
        answer.expire_time.FromDatetime(expires)
        return answer

    async def read(self, name: str, offset: int) -> AsyncGenerator[host_service_pb2.ReadUploadResponse, None]:
        """Yield the bytes of an upload from an offset on, a MiB at a time.

        Raises:
            NotFound: there is no such upload.
            InvalidRequest: the offset lies beyond its end.
            Unavailable: the inventory is about to stop.
        """
        identifier = _id_of(name)
        record = await self._threads.run(self._record, identifier)
        size = int(record["size_bytes"])
        if not 0 <= offset <= size:
            raise InvalidRequest.of("offset_bytes", f"{offset} is not allowed; it must be 0 to {size}")
        self._read[identifier] += 1
        try:
            while True:
                if self._closing:
                    raise Unavailable("the inventory is about to stop", retry_after=1.0)
                data = await self._threads.run(self._chunk, identifier, offset)
                offset += len(data)
                yield host_service_pb2.ReadUploadResponse(size_bytes=size, data=data)
                if offset >= size or not data:
                    return
        finally:
            self._read[identifier] -= 1

    async def remove(self, name: str) -> None:
        """Remove an upload; one that is not there is gone already."""
        with contextlib.suppress(NotFound):
            await self._threads.run(self._drop, _id_of(name))

    async def _header(
        self, requests: AsyncIterator[upload_service_pb2.UploadRequest]
    ) -> upload_service_pb2.UploadHeader:
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "header":
            raise InvalidRequest.of("header", "is required: the first message has it")
        header = first.header
        if not 0 < header.size_bytes <= self._limits.largest_bytes:
            allowed = f"it must be 1 to {self._limits.largest_bytes} bytes"
            raise InvalidRequest.of(_SIZE_FIELD, f"{header.size_bytes} is not allowed; {allowed}")
        if header.sha256 and not _DIGEST.fullmatch(header.sha256):
            raise InvalidRequest.of("header.sha256", f"{header.sha256!r} is not allowed; 64 hexadecimal digits are")
        return header

    async def _check_room(self, size_bytes: int) -> None:
        space = await self._threads.run(os.statvfs, self._folder)
        others = sum(self._coming.values()) - size_bytes
        free = max(0, space.f_bavail * space.f_frsize - others - self._limits.spare_bytes)
        if size_bytes > free:
            text = f"{size_bytes} bytes are asked for, {free} are free for uploads"
            raise CapacityExhausted(
                f"{_SIZE_FIELD}: {text}",
                violations=(FieldViolation(field=_SIZE_FIELD, description=text),),
                metadata={"field": _SIZE_FIELD, "free_bytes": str(free), "asked_bytes": str(size_bytes)},
            )

    def _record(self, identifier: str) -> Record:
        record = read_record(self._folder / f"{identifier}.json")
        if record is None:
            raise _gone(identifier)
        return record

    def _chunk(self, identifier: str, offset: int) -> bytes:
        try:
            with (self._folder / f"{identifier}.bin").open("rb") as file:
                return os.pread(file.fileno(), _CHUNK, offset)
        except FileNotFoundError:
            raise _gone(identifier) from None

    def _drop(self, identifier: str) -> None:
        remove_file(self._folder / f"{identifier}.json")
        remove_file(self._folder / f"{identifier}.bin")


def _data(request: upload_service_pb2.UploadRequest, left: int) -> bytes:
    """Return the bytes of a message that is not the first."""
    if request.WhichOneof("part") != "data":
        raise InvalidRequest.of("data", "is required in every message but the first")
    if len(request.data) > _LARGEST_PART:
        raise InvalidRequest.of("data", f"{len(request.data)} bytes are too many; at most {_LARGEST_PART} are allowed")
    if len(request.data) > left:
        raise InvalidRequest.of(_SIZE_FIELD, "more came than it says; it must be the size of the whole file")
    return bytes(request.data)


def _check_whole(staged: Staged, header: upload_service_pb2.UploadHeader) -> None:
    if staged.size != header.size_bytes:
        text = f"it says {header.size_bytes} and {staged.size} bytes came; it must be the size of the whole file"
        raise InvalidRequest.of(_SIZE_FIELD, text)
    found = staged.digest.hexdigest()
    if header.sha256 and header.sha256.lower() != found:
        text = f"{header.sha256} is not the digest of what came, which has {found}; nothing of it is kept"
        raise InvalidRequest.of("header.sha256", text)


def _id_of(name: str) -> str:
    collection, _, identifier = name.partition("/")
    if collection != COLLECTION or not _ID.fullmatch(identifier):
        raise NotFound(f"{name!r} is no upload; allowed is {COLLECTION}/ID as an upload answered it", resource=name)
    return identifier


def _gone(identifier: str) -> NotFound:
    name = f"{COLLECTION}/{identifier}"
    return NotFound(f"{name} does not exist; it was used or has expired, so upload the file again", resource=name)
