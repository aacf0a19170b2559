"""A nursery of processes: forks each from one that has loaded everything, so that a restart costs no second of imports.

A process that was killed and is started again a thousand times spends nearly all of the time in loading modules. What
runs is the same `main` with the same arguments and environment, in a process and a session of its own.

It is run as `python -m tests.faults.nursery SOCKET`; a request is a line of JSON, and so is the answer, the pid.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.torture import obedience
from tests.torture.bugs import BUGS, VARIABLE
from virtyard.processes.faults import MOMENTS

_LOADED = ("agent", "serve", "up")
_START_SECONDS = 200.0
"""How long loading may take; on a busy machine it takes a minute."""


class Nursery:
    """The parent of a site's processes; itself a process, which ends with `close`."""

    def __init__(self, folder: Path) -> None:
        """Start it; its socket is in this folder."""
        path = folder / "nursery"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(_START_SECONDS)
            self._process = subprocess.Popen([sys.executable, "-m", "tests.faults.nursery", str(path)])
            self._connection, _ = listener.accept()
        self._answers = self._connection.makefile("r")

    def start(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
        """Start `virtyard` with these arguments, its output added to a log, and return its pid."""
        log.touch(mode=0o600)
        asked = {"words": list(words), "environment": dict(environment), "log": str(log)}
        self._connection.sendall(json.dumps(asked).encode() + b"\n")
        return int(self._answers.readline())

    def close(self) -> None:
        """End it; the processes that it started are not touched."""
        self._answers.close()
        self._connection.close()
        self._process.wait(10)


def main(path: str) -> None:
    """Load what the processes need, then start one for each line until the other side is gone."""
    for name in _LOADED:
        __import__(f"virtyard.processes.{name}")
    import virtyard_client.main

    # Nobody waits for the children; the system is to reap them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    for line in connection.makefile("r"):
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            connection.close()
            _become(asked["environment"], asked["log"])
            code = 1
            try:
                if bug := asked["environment"].get(VARIABLE):
                    BUGS[bug](setattr)
                if asked["environment"].get(obedience.VARIABLE):
                    obedience.obey(setattr, Path(f"{asked['environment'][MOMENTS]}.open"))
                code = virtyard_client.main.main(asked["words"])
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        connection.sendall(f"{pid}\n".encode())


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
