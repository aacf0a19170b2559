"""Writing the image of a disk: by qemu-img, or as a raw file where that is missing.

Both tell how much is on the storage while they write, and stop when cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from virtyard.agent.drivers import process
from virtyard.agent.drivers.storage.contract import Report
from virtyard.agent.drivers.storage.layout import allocated
from virtyard.kernel.errors import CapacityExhausted, Unavailable
from virtyard.runtime.threads import Threads

_POLL_SECONDS = 0.05
_CHUNK = 4 << 20
_NO_ROOM = ("No space left on device", "Disk quota exceeded", "File too large")


async def write_qcow2(program: str, path: Path, size_bytes: int, *, full: bool, on_progress: Report) -> None:
    """Have qemu-img make an image; cancelled, it is killed first.

    Raises:
        CapacityExhausted: the storage ran out of space.
        Unavailable: qemu-img failed; its words are in the message.
    """
    words = ("create", "-q", "-f", "qcow2", "-o", f"preallocation={'full' if full else 'off'}")
    await _run(
        (program, *words, str(path), str(size_bytes)),
        path,
        size_bytes,
        tell=lambda: on_progress(min(allocated(path), size_bytes) if full else 0, size_bytes),
    )


async def resize_qcow2(
    program: str, path: Path, size_bytes: int, *, before: int, full: bool, on_progress: Report
) -> None:
    """Have qemu-img give an image another size; cancelled, it is killed first.

    Raises:
        CapacityExhausted: the storage ran out of space.
        Unavailable: qemu-img failed; its words are in the message.
    """
    grows = full and size_bytes > before
    options = [f"--preallocation={'full' if grows else 'off'}"] if size_bytes > before else ["--shrink"]
    more, had = max(size_bytes - before, 1), allocated(path)
    await _run(
        (program, "resize", "-q", "-f", "qcow2", *options, str(path), str(size_bytes)),
        path,
        size_bytes,
        tell=lambda: on_progress(min(max(allocated(path) - had, 0), more) if grows else 0, more),
    )


async def _run(command: Sequence[str], path: Path, size_bytes: int, *, tell: Callable[[], None]) -> None:
    writing = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    ended = asyncio.ensure_future(writing.communicate())
    try:
        while not ended.done():
            await asyncio.wait([ended], timeout=_POLL_SECONDS)
            tell()
    finally:
        with contextlib.suppress(ProcessLookupError):
            writing.kill()
        _, errors = await ended
    if writing.returncode != 0:
        raise _failure(errors.decode(errors="replace").strip(), path, size_bytes)


def resize_raw(path: Path, size_bytes: int, *, before: int, full: bool, on_progress: Report) -> None:
    """Give a raw file another size, every new block of it written if `full`; blocks.

    Raises:
        CapacityExhausted: the storage ran out of space.
    """
    with path.open("r+b", buffering=0) as file:
        try:
            if full and size_bytes > before:
                file.seek(before)
                _write_zeros(file.fileno(), size_bytes - before, on_progress, threading.Event())
            file.truncate(size_bytes)
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                raise _failure(_NO_ROOM[0], path, size_bytes) from error
            raise


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
