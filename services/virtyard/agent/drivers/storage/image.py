"""Writing the image of a disk: by qemu-img, or as a raw file where that is missing.

Both tell how much is on the storage while they write, and stop when cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from virtyard.agent.drivers import process
from virtyard.agent.drivers.storage.contract import ImageFile, Report
from virtyard.agent.drivers.storage.layout import allocated
from virtyard.kernel.errors import CapacityExhausted, Unavailable
from virtyard.runtime.threads import Threads

_POLL_SECONDS = 0.05
_CHUNK = 4 << 20
_SAID_NO_ROOM = ("No space left on device", "Disk quota exceeded", "File too large")
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The numbers of the errors that mean that the storage is full."""
_PERCENT = re.compile(rb"\(([0-9.]+)/100%\)")


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


async def convert_to_qcow2(program: str, image: ImageFile, path: Path, size_bytes: int, *, on_progress: Report) -> None:
    """Have qemu-img copy an image into a disk that is there, empty and at least as large; cancelled, it is killed.

    Raises:
        CapacityExhausted: the storage ran out of space.
        Unavailable: qemu-img failed; its words are in the message.
    """
    total = image.virtual_size_bytes
    percent = 0.0

    def hear(words: bytes) -> None:
        nonlocal percent
        percent = max([percent, *map(float, _PERCENT.findall(words))])

    # The format is the one that was found out at the import: an image never says itself what it is.
    formats = ("-f", image.format, "-O", "qcow2")
    await _run(
        (program, "convert", "-p", "-n", "--target-is-zero", *formats, str(image.path), str(path)),
        path,
        size_bytes,
        tell=lambda: on_progress(int(total * percent / 100), total),
        hear=hear,
    )


async def _run(
    command: Sequence[str],
    path: Path,
    size_bytes: int,
    *,
    tell: Callable[[], None],
    hear: Callable[[bytes], None] = lambda _: None,
) -> None:
    writing = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert writing.stdout is not None, "it was asked for"
    assert writing.stderr is not None, "it was asked for"
    ended = asyncio.gather(writing.stderr.read(), _hear_all(writing.stdout, hear), writing.wait())
    try:
        while not ended.done():
            await asyncio.wait([ended], timeout=_POLL_SECONDS)
            tell()
    finally:
        with contextlib.suppress(ProcessLookupError):
            writing.kill()
        errors, _, _ = await ended
    if writing.returncode != 0:
        raise _failure(errors.decode(errors="replace").strip(), path, size_bytes)


async def _hear_all(stream: asyncio.StreamReader, hear: Callable[[bytes], None]) -> None:
    while words := await stream.read(4096):
        hear(words)


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
            if error.errno in NO_ROOM:
                raise out_of_room(path, size_bytes) from error
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
            if error.errno in NO_ROOM:
                raise out_of_room(path, size_bytes) from error
            raise


def copy_raw(image: ImageFile, path: Path, *, on_progress: Report, stop: threading.Event) -> None:
    """Copy a raw image into a raw file that is there and at least as large; blocks, and returns early on `stop`.

    Raises:
        CapacityExhausted: the storage ran out of space.
    """
    with image.path.open("rb", buffering=0) as source, path.open("r+b", buffering=0) as target:
        done = 0
        try:
            while not stop.is_set() and (chunk := source.read(_CHUNK)):
                done += os.pwrite(target.fileno(), chunk, done)
                source.seek(done)
                on_progress(done, image.size_bytes)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise out_of_room(path, image.size_bytes) from error
            raise


async def write_raw_in(threads: Threads, path: Path, size_bytes: int, *, full: bool, on_progress: Report) -> None:
    """Run `write_raw` in a thread; cancelled, it stops within a chunk."""
    await _run_in(threads, partial(write_raw, path, size_bytes, full=full), on_progress)


async def copy_raw_in(threads: Threads, image: ImageFile, path: Path, *, on_progress: Report) -> None:
    """Run `copy_raw` in a thread; cancelled, it stops within a chunk."""
    await _run_in(threads, partial(copy_raw, image, path), on_progress)


async def _run_in(threads: Threads, write: Callable[..., None], on_progress: Report) -> None:
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def tell(done: int, total: int) -> None:
        loop.call_soon_threadsafe(on_progress, done, total)

    writing = asyncio.ensure_future(threads.run(write, on_progress=tell, stop=stop))
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


def out_of_room(path: Path, size_bytes: int) -> CapacityExhausted:
    """Return the refusal of a file for which the storage turned out to have no room."""
    space = os.statvfs(path.parent)
    free = space.f_bavail * space.f_frsize + allocated(path)
    text = f"{size_bytes} bytes asked for, {free} were free in {path.parent}"
    return CapacityExhausted(text, resource=str(path.parent))


def _failure(said: str, path: Path, size_bytes: int) -> CapacityExhausted | Unavailable:
    if any(words in said for words in _SAID_NO_ROOM):
        return out_of_room(path, size_bytes)
    return Unavailable(f"the image could not be made: {said}", resource=str(path))
