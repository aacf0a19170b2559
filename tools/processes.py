"""Processes that a tool started, each known by its pid and start time, so that none but them is ever ended.

A pid alone is reused; a pid with the time at which its process began is not. The records are files, so another run of
the tool can end what an earlier one left.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One process that was started."""

    name: str
    """What it is called here."""
    pid: int
    """Its process id."""
    began: str
    """When it began, as the system tells it."""


def begin_time(pid: int) -> str:
    """Return when a process began, in the system's own words; empty if it is gone or a zombie.

    A zombie some of whose threads still end is there: it may hold its locks of files.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        is_gone = fields[0] == "X" or (fields[0] == "Z" and int(fields[17]) <= 1)
        return "" if is_gone else fields[19]
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return ""
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, began = shown.stdout.strip().partition(" ")
    return "" if not state or "Z" in state else began.strip()


def start(name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Record:
    """Start a process in a session of its own; its output goes to `folder/NAME.log`, its record beside it.

    A process that died is started again under the same name; its log is continued.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(os.environ if environment is None else environment),
        )
    # It outlives this object, and `is_alive` reaps it by its pid.
    process.returncode = 0
    return keep_record(name, process.pid, folder)


def keep_record(name: str, pid: int, folder: Path) -> Record:
    """Write the record of a process that was just started, and return it."""
    record = Record(name=name, pid=pid, began=begin_time(pid))
    aside = folder / f"{name}.new"
    aside.write_text(json.dumps({"pid": record.pid, "began": record.began}))
    aside.replace(folder / f"{name}.process")
    return record


def records(folder: Path) -> list[Record]:
    """Return the records in a folder, dead processes included."""
    found = []
    for path in sorted(folder.glob("*.process")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            stored = json.loads(path.read_text())
            found.append(Record(name=path.stem, pid=int(stored["pid"]), began=stored["began"]))
    return found


def is_alive(record: Record) -> bool:
    """Tell whether exactly this process still runs; a child that ended is reaped."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(record.pid, os.WNOHANG)
    began = begin_time(record.pid)
    return bool(began) and began == record.began


def send(record: Record, number: signal.Signals) -> None:
    """Send a signal to exactly this process; nothing happens if it is gone."""
    if is_alive(record):
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, number)


def wait_ended(ended: Sequence[Record], seconds: float) -> list[Record]:
    """Wait until these processes have ended, and return those that have not in that time."""
    deadline = time.monotonic() + seconds
    left = [record for record in ended if is_alive(record)]
    while left and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        left = [record for record in left if is_alive(record)]
    return left


def end(ended: Sequence[Record], seconds: float = 5.0) -> list[Record]:
    """End these processes, asking first, and return those that had to be killed."""
    for record in ended:
        send(record, signal.SIGTERM)
    stubborn = wait_ended(ended, seconds)
    for record in stubborn:
        send(record, signal.SIGKILL)
    wait_ended(stubborn, seconds)
    return stubborn


def working_in(folder: Path) -> Iterator[tuple[Record, str]]:
    """Yield every process of this user one of whose arguments names a path in the folder, with its command line.

    It finds guests and image writers, which agents started; a system without /proc shows none, and has no QEMU guests.
    """
    wanted = os.fsencode(folder) + b"/"
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            if entry.stat().st_uid != os.getuid() or not any(wanted in argument for argument in arguments):
                continue
        except OSError:
            continue
        began = begin_time(int(entry.name))
        if began and int(entry.name) != os.getpid():
            program = os.fsdecode(arguments[0]).rpartition("/")[2]
            yield Record(name=program, pid=int(entry.name), began=began), os.fsdecode(b" ".join(arguments).strip())
