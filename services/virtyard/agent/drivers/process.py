"""Processes of this host by identity: a pid alone is reused, a pid with its start time and boot is not (Linux)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_ENDED = ("", "Z", "X")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """One process, told from every other that ever had its pid."""

    pid: int
    """The process id."""
    start_ticks: int
    """The start time in clock ticks since boot: field 22 of /proc/PID/stat."""
    boot: str
    """The id of the boot that it belongs to."""

    @property
    def run(self) -> str:
        """The identity in one word, which no other process has had on any host."""
        return f"{self.boot}/{self.pid}/{self.start_ticks}"


def is_supported() -> bool:
    """Tell whether this system shows processes in /proc and has descriptors for them."""
    return (_PROC / "self/stat").exists() and hasattr(os, "pidfd_open")


def boot_id() -> str:
    """Return the id of this boot of the host."""
    return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of the process that has `pid` now; None if it is gone or a zombie."""
    state, ticks = _state(pid)
    return None if state in _ENDED else ProcessIdentity(pid=pid, start_ticks=ticks, boot=boot_id())


def is_alive(identity: ProcessIdentity) -> bool:
    """Tell whether exactly this process still runs."""
    return _is_there(identity) and _state(identity.pid)[0] not in _ENDED


def find_by_argument(argument: str) -> Iterator[ProcessIdentity]:
    """Yield every live process one of whose arguments is exactly `argument`."""
    wanted = argument.encode()
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and wanted in _arguments(entry):
            identity = identify(int(entry.name))
            if identity is not None:
                yield identity


def kill(identity: ProcessIdentity) -> None:
    """Send SIGKILL to exactly this process; nothing happens if it is gone."""
    with contextlib.suppress(ProcessLookupError), _open(identity) as descriptor:
        if descriptor is not None:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)


async def wait_ended(identity: ProcessIdentity) -> None:
    """Return once the process and every thread of it has ended; if it is a child of this process it is reaped."""
    with _open(identity) as descriptor:
        if descriptor is not None:
            await _wait_readable(descriptor)
    reap(identity.pid)


class Watch:
    """Calls back on the event loop, once, when a process has ended."""

    def __init__(self, identity: ProcessIdentity, ended: Callable[[], None]) -> None:
        """Watch from now on; a process that is gone already is told at the loop's next turn."""
        self._loop = asyncio.get_running_loop()
        self._identity = identity
        self._ended = ended
        self._descriptor: int | None = None
        try:
            self._descriptor = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            self._loop.call_soon(self._tell)
            return
        if _is_there(identity):
            self._loop.add_reader(self._descriptor, self._tell)
        else:
            self._loop.call_soon(self._tell)

    def close(self) -> None:
        """Stop watching."""
        self._ended = _nothing
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _tell(self) -> None:
        ended = self._ended
        self.close()
        reap(self._identity.pid)
        ended()


def reap(pid: int) -> None:
    """Take the exit status of a child that ended, so that no zombie stays; other processes are left alone."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _nothing() -> None:
    return None


@contextlib.contextmanager
def _open(identity: ProcessIdentity) -> Iterator[int | None]:
    """Hold a descriptor of the process; opened before the identity is compared, so that it cannot be another's."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor if _is_there(identity) else None
    finally:
        os.close(descriptor)


async def _wait_readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)


def _is_there(identity: ProcessIdentity) -> bool:
    """Tell whether exactly this process exists, be it as a zombie whose last threads are still ending."""
    return identity.boot == boot_id() and _state(identity.pid)[1] == identity.start_ticks


def _state(pid: int) -> tuple[str, int]:
    """Return the letter of a process's state and its start time in clock ticks; ("", 0) if there is none."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "", 0
    fields = stat.rpartition(")")[2].split()  # the command's name may hold blanks and brackets
    return fields[0], int(fields[19])


def _arguments(process: Path) -> list[bytes]:
    try:
        return (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
