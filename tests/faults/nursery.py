"""A nursery of processes: forks each from one that has loaded everything, so that a restart costs no second of imports.

A process that was killed and is started again a thousand times spends nearly all of the time in loading modules. What
runs is the same `main` with the same arguments and environment, in a process and a session of its own.

It is run as `python -m tests.faults.nursery SOCKET`; a request is a line of JSON, and so is the answer, the pid. Beside
the socket is `SOCKET.ended`, to which it adds a line, pid and exit code, when a process has ended.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import virtyard_client.main
from tests.torture import obedience
from tests.torture.bugs import BUGS, OTHERS, VARIABLE
from virtyard.processes.faults import MOMENTS

_LOADED = ("agent", "serve", "up")
_LOAD_SECONDS = 240.0
"""What loading takes is two seconds of a core, which a busy machine may not have."""


class Nursery:
    """The parent of a site's processes; itself a process, which ends with `close`."""

    def __init__(self, folder: Path) -> None:
        """Start it; its socket is in this folder."""
        path = folder / "nursery"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(_LOAD_SECONDS)
            self._process = subprocess.Popen([sys.executable, "-m", "tests.faults.nursery", str(path)])
            self._connection, _ = listener.accept()
        self._ended = _ended_file(path)
        self._answers = self._connection.makefile("r")

    def start(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
        """Start `virtyard` with these arguments, its output added to a log, and return its pid."""
        log.touch(mode=0o600)
        asked = {"words": list(words), "environment": dict(environment), "log": str(log)}
        self._connection.sendall(json.dumps(asked).encode() + b"\n")
        return int(self._answers.readline())

    @property
    def pid(self) -> int:
        """The process that the others are forked from, which hands them its limits."""
        return self._process.pid

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a process that has ended, less than 0 after a signal; None while it is not known."""
        lines = self._ended.read_text().splitlines() if self._ended.exists() else []
        # The last of them: numbers of processes are used again.
        return next((int(line.split()[1]) for line in reversed(lines) if line.split()[0] == str(pid)), None)

    def close(self) -> None:
        """End it; the processes that it started are not touched."""
        self._answers.close()
        self._connection.close()
        self._process.wait(10)


def main(path: str) -> None:
    """Load what the processes need, then start one for each line until the other side is gone."""
    for name in _LOADED:
        __import__(f"virtyard.processes.{name}")

    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    gc.freeze()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    # Whoever asks waits for the answer, so a line is never followed by another.
    requests = connection.makefile("r")
    while True:
        ready, _, _ = select.select([connection, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            _reap(_ended_file(Path(path)))
        if connection in ready:
            line = requests.readline()
            if not line:
                return
            asked = json.loads(line)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                for mine in (connection, woken, waker):
                    mine.close()
                _live(asked)
            connection.sendall(f"{pid}\n".encode())


def _ended_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.ended")


def _reap(ended: Path) -> None:
    """Note how each child ended that has."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        with ended.open("a") as file:
            file.write(f"{pid} {os.waitstatus_to_exitcode(status)}\n")


def _live(asked: Mapping[str, Any]) -> NoReturn:
    """Be the process that was asked for, to its end."""
    _become(asked["environment"], asked["log"])
    code = 1
    try:
        if bug := asked["environment"].get(VARIABLE):
            (BUGS | OTHERS)[bug](setattr)
        if asked["environment"].get(obedience.VARIABLE):
            obedience.obey(setattr, Path(f"{asked['environment'][MOMENTS]}.open"))
        code = virtyard_client.main.main(asked["words"])
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter would, had the process one of its own
        with contextlib.suppress(OSError, ValueError):
            # Full disks are made by this limit, and last words are wanted all the more.
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):  # its disk may be full
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _become(environment: Mapping[str, str], log: str) -> None:
    """Make the child what a new process would be: its session, its output, its environment, its signals."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(number, target)
    os.environ.clear()
    os.environ.update(environment)


if __name__ == "__main__":
    main(sys.argv[1])
