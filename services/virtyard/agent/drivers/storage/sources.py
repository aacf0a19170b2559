"""Where the bytes of an imported image come from: a file of this host, or an upload that the inventory keeps."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from io import FileIO
from pathlib import Path

from virtyard.internal.inventory.v1 import host_service_pb2
from virtyard.kernel.errors import InvalidRequest, NotFound, RetryError, Unavailable
from virtyard.runtime.threads import Threads

ReadUpload = Callable[[str, int], AsyncGenerator[host_service_pb2.ReadUploadResponse, None]]
"""From an upload's name and an offset in bytes to what the inventory streams; raises VirtyardErrors."""

_CHUNK = 4 << 20
_SILENCE = 30.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_PATIENCE = 900.0


def reach_no_inventory(upload: str, offset: int) -> AsyncGenerator[host_service_pb2.ReadUploadResponse, None]:
    """Read no upload: the agent was opened without a link to the inventory."""
    raise NotFound(f"{upload} cannot be read from byte {offset} on: no inventory is known", resource=upload)


class FileSource:
    """A file of this host."""

    def __init__(self, path: Path, threads: Threads) -> None:
        """Read the file at a path that was checked, every symbolic link in it followed."""
        self._path = path
        self._threads = threads

    async def open(self) -> int:
        """Return the file's size in bytes; see the contract."""

        def look() -> int:
            with self._opened() as file:
                return os.fstat(file.fileno()).st_size

        return await self._threads.run(look)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of the file."""
        done = 0
        while chunk := await self._threads.run(self._read, done):
            done += len(chunk)
            yield chunk

    def _read(self, offset: int) -> bytes:
        # Opened each time, so that no descriptor is left with whoever does not read to the end.
        with self._opened() as file:
            return os.pread(file.fileno(), _CHUNK, offset)

    def _opened(self) -> FileIO:
        try:
            # What is no file must not make the open wait, as a pipe would.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"server_path: {self._path} does not exist on this host", resource=str(self._path)) from None
        except OSError as error:
            raise InvalidRequest.of("server_path", f"{self._path} cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InvalidRequest.of("server_path", f"{self._path} is not allowed; it must be a file")
        return FileIO(descriptor, "rb")


class UploadSource:
    """An upload that the inventory keeps; what was cut off goes on where it was."""

    def __init__(self, upload: str, read: ReadUpload) -> None:
        """Read the upload of this name."""
        self._upload = upload
        self._read = read

    async def open(self) -> int:
        """Return the upload's size in bytes; see the contract."""
        async with aclosing(self._answers()) as answers:
            return (await anext(answers)).size_bytes

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of the upload."""
        async with aclosing(self._answers()) as answers:
            async for answer in answers:
                yield answer.data

    async def _answers(self) -> AsyncGenerator[host_service_pb2.ReadUploadResponse, None]:
        """Yield the whole upload; while the inventory is away nothing else of the operation could go on either."""
        loop = asyncio.get_running_loop()
        done, size, pause, since = 0, -1, _SHORTEST_PAUSE, loop.time()
        while done != size:
            error: RetryError = Unavailable(f"the inventory broke off {self._upload}", resource=self._upload)
            try:
                async with aclosing(self._read(self._upload, done)) as answers:
                    while (answer := await _next(answers)) is not None:
                        done, size = done + len(answer.data), answer.size_bytes
                        yield answer
                        pause, since = _SHORTEST_PAUSE, loop.time()
            except RetryError as cut:
                error = cut
            if done != size:
                if loop.time() - since > _PATIENCE:
                    raise error
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)


async def _next(
    answers: AsyncGenerator[host_service_pb2.ReadUploadResponse, None],
) -> host_service_pb2.ReadUploadResponse | None:
    try:
        async with asyncio.timeout(_SILENCE):
            return await anext(answers, None)
    except TimeoutError:
        raise Unavailable(f"the inventory was silent for {_SILENCE:.0f} s") from None
