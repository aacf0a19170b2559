"""The account of a QEMU process: QEMU itself writes the events of its life to a file, where how it ended can be read.

A second monitor takes its one command, to begin, from a file and writes to another: nobody needs to be connected when
the guest shuts down, neither this agent nor the next one. A process that ended without a SHUTDOWN event was killed, or
crashed, or went down with its host.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from virtyard.agent.drivers.hypervisor.contract import GuestEnd

__all__ = ["account_arguments", "begin_account", "read_end"]

_BEGIN = b'{"execute": "qmp_capabilities"}\n'
_LIFE = ("SHUTDOWN", "RESET", "RESUME", "GUEST_PANICKED")
_TAIL_BYTES = 16384
"""How much of the end is read; an event has about 150 bytes."""
_HOST = {
    "host-signal": "its process was ended by a signal",
    "host-qmp-quit": "its process was told to quit by hand",
    "host-error": "QEMU gave up after an error",
}


def begin_account(folder: Path) -> None:
    """Write the files of a run that is about to begin; those of the last one are gone."""
    _written(folder).write_bytes(b"")
    _told(folder).write_bytes(_BEGIN)


def account_arguments(folder: Path) -> list[str]:
    """Return the arguments by which QEMU keeps its account in this folder."""
    stem = str(folder / "account").replace(",", ",,")
    return ["-chardev", f"pipe,id=account,path={stem}", "-mon", "chardev=account,mode=control"]


def read_end(folder: Path) -> tuple[GuestEnd, str]:
    """Return how the last run ended, whose process is gone, and what is known of it in words; blocks."""
    try:
        with _written(folder).open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
            lines = file.read().splitlines()
    except OSError:
        return GuestEnd.UNKNOWN, "its process is gone, and QEMU left no account of it"
    if not lines:
        # Run under an earlier release, or gone before it could write its greeting.
        return GuestEnd.UNKNOWN, "its process is gone, and QEMU's account of it is empty"
    last = next(filter(None, map(_life_event, reversed(lines))), {})
    if last.get("event") != "SHUTDOWN":
        return GuestEnd.CRASHED, "its process vanished without a word, as after a kill or a crash of QEMU"
    data = last.get("data", {})
    if data.get("guest"):
        if data.get("reason") == "guest-panic":
            return GuestEnd.CRASHED, "the guest's system panicked"
        return GuestEnd.BY_GUEST, "the guest shut itself down"
    reason = str(data.get("reason", ""))
    return GuestEnd.CRASHED, _HOST.get(reason, f"its process was ended from outside ({reason or 'no reason given'})")


def _life_event(line: bytes) -> dict[str, Any] | None:
    """Return a line as an event of the guest's life; None if it is none, or was cut off."""
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) and said.get("event") in _LIFE else None


def _told(folder: Path) -> Path:
    return folder / "account.in"


def _written(folder: Path) -> Path:
    return folder / "account.out"
