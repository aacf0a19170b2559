"""A local file as the messages of an upload: the header first, then its bytes, hashed as they are read."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from virtyard.api.inventory.v1 import upload_service_pb2
from virtyard_client.errors import ClientError

_PART = 1 << 20


class FileParts:
    """The messages that upload one file; close it when the call has ended."""

    def __init__(self, file: Path, on_progress: Callable[[int, int], None]) -> None:
        self._file = file.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size
        self._digest = hashlib.sha256()
        self._on_progress = on_progress

    async def __aiter__(self) -> AsyncIterator[upload_service_pb2.UploadRequest]:
        """Yield the messages; gRPC asks for the next one when there is room for it."""
        yield upload_service_pb2.UploadRequest(header=upload_service_pb2.UploadHeader(size_bytes=self._size))
        sent = 0
        while data := await asyncio.to_thread(self._read):
            yield upload_service_pb2.UploadRequest(data=data)
            sent += len(data)
            self._on_progress(sent, self._size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def check(self, answer: upload_service_pb2.UploadResponse) -> None:
        """See that what came is what was read.

        Raises:
            ClientError: it is not.
        """
        if answer.sha256 != self._digest.hexdigest():
            raise ClientError(f"{self._file.name} was changed on its way; upload it again", code="DATA_LOSS")

    def _read(self) -> bytes:
        data = self._file.read(_PART)
        self._digest.update(data)
        return data
