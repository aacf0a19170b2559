"""A trial guest of ten bytes of code: the only proof that an accelerator really runs guests.

`/dev/kvm` can be opened, virtual machines can be created and libvirt can advertise KVM on hosts where no guest gets
past its firmware. The trial boots the machine type that guests use, firmware and all, into a multiboot stub that ends
QEMU through its debug-exit port; a minimal machine type would pass where real guests hang.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

from virtyard.agent.drivers.hypervisor.qemu_command import Emulator, architecture, machine_arguments
from virtyard.agent.drivers.process import boot_id
from virtyard.runtime.durable_file import read_record, write_record
from virtyard.runtime.threads import Threads

_EXIT_PORT = 0x501
_EXIT_VALUE = 0x2A
_EXIT_STATUS = (_EXIT_VALUE << 1) | 1
_LIMIT = 2.0
_PLACE = re.compile(r"^qemu-system-\S+: (\S+:\d+: )?")  # the program and the line of its source
_LOAD = 0x100000
_MULTIBOOT_MAGIC = 0x1BADB002
_MULTIBOOT_ADDRESSES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the trials of this host's QEMU showed."""

    supported: bool
    """True if a guest ran at all."""
    emulator: Emulator
    """The emulator with the accelerator and the confinement that worked."""
    reason: str
    """Why this accelerator, as a person reads it."""


def stub() -> bytes:
    """Return the trial's kernel: it writes one value to the debug-exit port, then halts."""
    code = struct.pack("<BBHBBBBBB", 0x66, 0xBA, _EXIT_PORT, 0xB0, _EXIT_VALUE, 0xEE, 0xF4, 0xEB, 0xFD)
    checksum = -(_MULTIBOOT_MAGIC + _MULTIBOOT_ADDRESSES) & 0xFFFFFFFF
    size = 32 + len(code)
    header = struct.pack(
        "<8I",
        _MULTIBOOT_MAGIC,
        _MULTIBOOT_ADDRESSES,
        checksum,
        _LOAD,
        _LOAD,
        _LOAD + size,
        _LOAD + size,
        _LOAD + 32,
    )
    return header + code


async def judge(emulator: Emulator, cache: Path, threads: Threads, *, kvm_device: Path = Path("/dev/kvm")) -> Verdict:
    """Find the best accelerator that really runs a guest; remembered per boot of the host and version of QEMU."""
    key = {"boot": boot_id(), "version": emulator.version, "binary": emulator.binary}
    known = await threads.run(read_record, cache)
    if known is not None and known.get("key") == key:
        found = dataclasses.replace(emulator, accelerator=known["accelerator"], sandboxed=known["sandboxed"])
        return Verdict(supported=known["supported"], emulator=found, reason=known["reason"])
    verdict = await _try_all(emulator, kvm_device, threads)
    await threads.run(write_record, cache, {"key": key, **_remembered(verdict)})
    return verdict


def _remembered(verdict: Verdict) -> dict[str, object]:
    return {
        "supported": verdict.supported,
        "accelerator": verdict.emulator.accelerator,
        "sandboxed": verdict.emulator.sandboxed,
        "reason": verdict.reason,
    }


async def _try_all(emulator: Emulator, kvm_device: Path, threads: Threads) -> Verdict:
    if architecture() != "x86_64":
        return Verdict(supported=True, emulator=emulator, reason="no trial guest for this architecture, so no KVM")
    sandboxed, problem = await _try_emulation(emulator)
    if problem:
        return Verdict(supported=False, emulator=emulator, reason=problem)
    if not await threads.run(kvm_device.exists):
        return Verdict(supported=True, emulator=sandboxed, reason=f"{kvm_device} is missing")
    accelerated = dataclasses.replace(sandboxed, accelerator="kvm")
    problem = await run_trial(accelerated)
    if problem:
        return Verdict(supported=True, emulator=sandboxed, reason=f"KVM did not run a trial guest: {problem}")
    return Verdict(supported=True, emulator=accelerated, reason="KVM ran a trial guest")


async def _try_emulation(emulator: Emulator) -> tuple[Emulator, str]:
    confined = dataclasses.replace(emulator, accelerator="tcg", sandboxed=True)
    problem = await run_trial(confined, limit=5 * _LIMIT)
    if not problem:
        return confined, ""
    open_hearted = dataclasses.replace(confined, sandboxed=False)
    return open_hearted, await run_trial(open_hearted, limit=5 * _LIMIT)


async def run_trial(emulator: Emulator, *, limit: float = _LIMIT) -> str:
    """Boot the stub; return "" if it ran, else what happened instead."""
    with tempfile.TemporaryDirectory(prefix="virtyard-trial-") as folder:
        kernel = Path(folder) / "stub"
        kernel.write_bytes(stub())
        arguments = [*machine_arguments(emulator), "-m", "32M", "-kernel", str(kernel)]
        arguments += ["-device", f"isa-debug-exit,iobase={_EXIT_PORT:#x},iosize=1"]
        return await _run(arguments, limit)


async def _run(arguments: list[str], limit: float) -> str:
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(limit):
            _, errors = await process.communicate()
    except TimeoutError:
        return f"it did not answer within {limit:g} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode == _EXIT_STATUS:
        return ""
    lines = errors.decode(errors="replace").strip().splitlines()
    return _PLACE.sub("", lines[-1]) if lines else f"QEMU ended with status {process.returncode}"
