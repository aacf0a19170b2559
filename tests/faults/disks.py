"""Disks of processes that can go wrong: a file system of its own, on a loop device, for the state of each.

A disk that is frozen (fsfreeze) takes no write until it is thawed, and whoever writes stands still in the kernel,
beyond any signal: a disk that hangs. One that is frozen and thawed all the time is slow. One that is full has room
again once a file is taken away. One that has met an error, which ext4 has a switch for, is read-only from then on, as
`errors=remount-ro` says, and nothing takes that back but unmounting it.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Self

import pytest

from tests.acceptance.site import Site, until

_BYTES = 64 << 20
_BLOCK = 1 << 10
"""What ext4 gives out at once on a disk this small."""
_HELD_UP_SECONDS, _GOES_ON_SECONDS = 0.3, 0.03
"""A slow disk: a commit takes a third of a second, where two milliseconds are usual. All that wait share a moment."""


class Disk:
    """The file system that holds one process's state."""

    def __init__(self, image: Path, place: Path) -> None:
        """Mount a new file system on a folder, which is made; skip the test where that cannot be."""
        self.place = place
        self._image = image
        place.mkdir(parents=True, mode=0o700)
        with image.open("wb") as file:
            file.truncate(_BYTES)
        _try(["mkfs.ext4", "-q", "-F", str(image)])
        self.mount()

    def mount(self) -> None:
        """Mount it."""
        _try(["mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.place)])

    def unmount(self) -> None:
        """Unmount it; nobody may have a file open there."""
        _run(["umount", str(self.place)])

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it take no write while the block runs."""
        _run(["fsfreeze", "-f", str(self.place)])
        try:
            yield
        finally:
            _run(["fsfreeze", "-u", str(self.place)])

    @contextmanager
    def slow(self) -> Iterator[list[float]]:
        """Let it take writes for a moment only, again and again, while the block runs: most wait for the next one.

        Yields: when it was held up, in seconds of the monotonic clock; it grows.
        """
        over, times = threading.Event(), list[float]()

        def hold_up() -> None:
            while not over.is_set():
                with self.frozen():
                    times.append(time.monotonic())
                    over.wait(_HELD_UP_SECONDS)
                over.wait(_GOES_ON_SECONDS)

        with ThreadPoolExecutor(1) as own:
            holding = own.submit(hold_up)
            try:
                yield times
            finally:
                over.set()
                holding.result()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let there be no room at all while the block runs."""
        ballast = self.place / "ballast"
        with ballast.open("wb") as file:
            try:
                # Whoever wrote between the two has some of its log left to write over again, without a new block.
                for _ in range(2):
                    self._empty_logs()
                    _fill(file.fileno())
                yield
            finally:
                file.truncate(0)
        ballast.unlink()

    def _empty_logs(self) -> None:
        """Write what is in the logs of the databases into them, so that a commit needs a new block."""
        for log in self.place.rglob("*-wal"):
            with closing(sqlite3.connect(str(log).removesuffix("-wal"), isolation_level=None)) as database:
                until(partial(_empty_log, database), 20.0, f"{log} is empty")

    def turn_read_only(self) -> None:
        """Let it meet an error, after which it takes no write."""
        mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
        (device,) = (fields[0] for fields in mounts if fields[1] == str(self.place))
        Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("a test\n")
        with pytest.raises(OSError, match="Read-only file system"):
            (self.place / "probe").touch()


class Disks:
    """The disks of a site's processes, by name; the block in which they are used is to be around that of the site."""

    def __init__(self, names: Sequence[str]) -> None:
        """Make them for these processes, once `mount` is called."""
        self._names = names
        self._stack = ExitStack()
        self._disks: dict[str, Disk] = {}

    def __enter__(self) -> Self:
        """Return the disks."""
        return self

    def __exit__(self, *_: object) -> None:
        """Unmount them, and remove what is left of them; the site is closed."""
        self._stack.close()

    def __getitem__(self, name: str) -> Disk:
        """Return the disk of a process."""
        return self._disks[name]

    def mount(self, site: Site) -> None:
        """Mount each where its process is to have its state; skip the test where that cannot be."""
        folder = Path(tempfile.mkdtemp(prefix="vyd-", dir="/tmp"))
        for left in (folder, site.folder.parent):
            self._stack.callback(shutil.rmtree, left, ignore_errors=True)
        for name in self._names:
            self._disks[name] = disk = Disk(folder / f"{name}.img", site.folder / "state" / name)
            self._stack.callback(disk.unmount)


def _empty_log(database: sqlite3.Connection) -> bool:
    """Write a database's log into it; tell whether nobody was in the way."""
    (busy, _, _) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def _fill(file: int) -> None:
    """Let a file take every block that is left on its disk, also those that are given back only by a sync."""
    before = -1
    while before != (before := os.fstat(file).st_size):
        os.fsync(file)
        for size in (1 << 20, _BLOCK):
            with _until_full():
                while True:
                    os.posix_fallocate(file, os.fstat(file).st_size, size)


@contextmanager
def _until_full() -> Iterator[None]:
    """End the block where the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def _run(words: Sequence[str]) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)


def _try(words: Sequence[str]) -> None:
    """Run what needs root, a program and loop devices."""
    try:
        _run(words)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        pytest.skip(f"no file system can be put on a loop device here: {str(said).strip()}")
