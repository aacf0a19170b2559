"""Writing the image of a disk: by qemu-img, or as a raw file where that is missing.

Both tell how much is on the storage while they write, and stop when cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from pathlib import Path

from virtyard.agent.drivers import process
from virtyard.agent.drivers.storage.contract import Report
from virtyard.agent.drivers.storage.layout import allocated
from virtyard.agent.drivers.threads import Threads
from virtyard.kernel.errors import CapacityExhausted, Unavailable

_POLL_SECONDS = 0.05
_CHUNK = 4 << 20
_NO_ROOM = ("No space left on device", "Disk quota exceeded", "File too large")


async def write_qcow2(program: str, path: Path, size_bytes: int, *, full: bool, on_progress: Report) -> None:
    """Have qemu-img make an image; cancelled, it is killed first.

    Raises:
        CapacityExhausted: the storage ran out of space.
        Unavailable: qemu-img failed; its words are in the message.
    """
    options = ["-o", f"preallocation={'full' if full else 'off'}"]
    creating = await asyncio.create_subprocess_exec(
        *(program, "create", "-q", "-f", "qcow2", *options, str(path), str(size_bytes)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    ended = asyncio.ensure_future(creating.communicate())
    try:
        while not ended.done():
            await asyncio.wait([ended], timeout=_POLL_SECONDS)
            on_progress(min(allocated(path), size_bytes) if full else 0, size_bytes)
    finally:
        with contextlib.suppress(ProcessLookupError):
            creating.kill()
        _, errors = await ended
    if creating.returncode != 0:
        raise _failure(errors.decode(errors="replace").strip(), path, size_bytes)


def write_raw(path: Path, size_bytes: int, *, full: bool, on_progress: Report, stop: threading.Event) -> None:
    """Write a raw file, every block of it if `full`; blocks, and returns early once `stop` is set.

    Raises:
        CapacityExhausted: the storage ran out of space.
    """
    with path.open("xb", buffering=0) as file:
        try:
            if full:
                _write_zeros(file.fileno(), size_bytes, on_progress, stop)
            file.truncate(size_bytes)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                raise _failure(_NO_ROOM[0], path, size_bytes) from error
            raise


async def write_raw_in(threads: Threads, path: Path, size_bytes: int, *, full: bool, on_progress: Report) -> None:
    """Run `write_raw` in a thread; cancelled, it stops within a chunk."""
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def tell(done: int, total: int) -> None:
        loop.call_soon_threadsafe(on_progress, done, total)

    writing = asyncio.ensure_future(threads.run(write_raw, path, size_bytes, full=full, on_progress=tell, stop=stop))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([writing])
        raise


def end_writers(path: Path) -> None:
    """Kill what an agent that was itself killed left writing this image."""
    if process.is_supported():
        for writer in process.find_by_argument(str(path)):
            process.kill(writer)


def _write_zeros(descriptor: int, size_bytes: int, on_progress: Report, stop: threading.Event) -> None:
    zeros = bytes(_CHUNK)
    done = 0
    while done < size_bytes and not stop.is_set():
        done += os.write(descriptor, zeros[: size_bytes - done])
        on_progress(done, size_bytes)


def _failure(said: str, path: Path, size_bytes: int) -> CapacityExhausted | Unavailable:
    if any(words in said for words in _NO_ROOM):
        space = os.statvfs(path.parent)
        free = space.f_bavail * space.f_frsize + allocated(path)
        return CapacityExhausted(
            f"{size_bytes} bytes asked for, {free} were free in {path.parent}", resource=str(path.parent)
        )
    return Unavailable(f"the image could not be made: {said}", resource=str(path))
