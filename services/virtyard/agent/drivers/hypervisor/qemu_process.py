"""The process of a QEMU guest as the host sees it: its files and taps before it starts, its start, and its last words.

Nothing here remembers anything: which guests there are is the driver's to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from virtyard.agent.drivers.hypervisor.contract import GuestSpec
from virtyard.agent.drivers.hypervisor.guest_record import GuestRecord, encode
from virtyard.agent.drivers.hypervisor.qemu_account import begin_account
from virtyard.agent.drivers.hypervisor.qemu_command import TAP_DESCRIPTOR, GuestFiles
from virtyard.agent.drivers.network.contract import Network
from virtyard.kernel.errors import CapacityExhausted, Unavailable, Unsupported, WrongState
from virtyard.runtime.durable_file import write_record


async def version(binary: str) -> str:
    """Return the first line of what the program says of its version."""
    asked = await asyncio.create_subprocess_exec(
        binary, "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asked.communicate()
    return output.decode(errors="replace").partition("\n")[0].strip()


async def open_taps(network: Network | None, spec: GuestSpec) -> dict[int, int]:
    """Return the descriptor of a new tap for each card that is plugged into a bridge, by the card's number.

    Args:
        network: gives the taps; None if this host has no driver for bridges.
        spec: the guest with its cards.

    Raises:
        Unsupported: a card asks for a bridge, and there is no `network`.
    """
    taps: dict[int, int] = {}
    bridged = [(number, nic) for number, nic in enumerate(spec.nics) if nic.bridge]
    if not bridged:
        return taps
    if network is None:
        raise Unsupported("this host cannot plug cards into bridges", resource=spec.name)
    try:
        for number, nic in bridged:
            name = f"vt{hashlib.sha256(nic.mac.encode()).hexdigest()[:12]}"
            taps[number] = await network.open_tap(nic.bridge, name)
    except BaseException:
        for descriptor in taps.values():
            os.close(descriptor)
        raise
    return taps


def prepare(files: GuestFiles, record: GuestRecord) -> None:
    """Write the record of a guest that is about to start, before its process exists."""
    files.folder.mkdir(mode=0o700, exist_ok=True)
    begin_account(files.folder)
    write_record(files.record, encode(record))


def remove(files: GuestFiles) -> None:
    """Remove every file of a guest that does not run."""
    files.monitor.unlink(missing_ok=True)
    files.display.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        files.record.unlink()  # first: a folder without a record is nothing
        shutil.rmtree(files.folder)


def spawn(arguments: list[str], output: Path, taps: Mapping[int, int]) -> int:
    """Start the process in a session of its own; it is no child of the loop, which would kill it at the agent's end.

    The taps become its descriptors from `TAP_DESCRIPTOR` on, by the number of the card.
    """
    with output.open("wb") as log, Path(os.devnull).open("rb") as nothing:
        return os.posix_spawn(
            arguments[0],
            arguments,
            {"PATH": os.defpath, "LC_ALL": "C"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                *((os.POSIX_SPAWN_DUP2, descriptor, TAP_DESCRIPTOR + number) for number, descriptor in taps.items()),
            ],
            setsid=True,
        )


def explain(spec: GuestSpec, output: Path) -> Unavailable | WrongState | CapacityExhausted:
    """Return the error that QEMU's last words mean."""
    lines = [line for line in output.read_text(errors="replace").splitlines() if "warning:" not in line]
    said = " ".join(lines[-2:]) or "it said nothing"
    if "Cannot allocate memory" in said or "cannot set up guest memory" in said:
        return CapacityExhausted(f"no memory for {spec.memory_bytes} bytes: {said}", resource=spec.name)
    if "lock" in said and "Failed to get" in said:
        return WrongState(f"a disk is in use by another process: {said}", resource=spec.name)
    return Unavailable(f"QEMU ended at once: {said}", resource=spec.name)
