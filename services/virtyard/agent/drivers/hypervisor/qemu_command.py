"""The argument list of one QEMU process: pure, and never seen by a shell.

Values from outside stand in JSON, or have their commas doubled, so none of them can become an option of its own.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from virtyard.agent.drivers.hypervisor.contract import BootDevice, DiskSpec, GuestSpec, NicSpec

SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
"""What a guest's process may not do; `-daemonize` needs some of it, so the agent starts the session itself."""

TAP_DESCRIPTOR = 900
"""The guest's process has the tap of its first card under this descriptor, that of the next under the next."""

_MACHINES = {"x86_64": "q35", "aarch64": "virt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """The QEMU of this host, and what was found out about it."""

    binary: str
    """Absolute path of the program."""
    version: str
    """Its first line of `--version`."""
    accelerator: str = "tcg"
    """`kvm` or `tcg`."""
    sandboxed: bool = True
    """Whether it can confine itself by seccomp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFiles:
    """The files of one guest beside its disks."""

    folder: Path
    """Folder of the guest in the driver's state."""
    monitor: Path
    """Socket of its monitor, in a short folder: at most 107 bytes."""
    display: Path
    """Socket of its display, beside that of the monitor."""

    @property
    def record(self) -> Path:
        """What was asked for, the mark and the process."""
        return self.folder / "guest.json"

    @property
    def serial_log(self) -> Path:
        """What the guest writes to its console."""
        return self.folder / "serial.log"

    @property
    def output(self) -> Path:
        """What QEMU itself says."""
        return self.folder / "qemu.log"

    @property
    def pidfile(self) -> Path:
        """QEMU's own pid file; its path in the command line also identifies the process."""
        return self.folder / "pid"


def architecture() -> str:
    """Return the architecture of this host in QEMU's words."""
    machine = platform.machine()
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def machine_arguments(emulator: Emulator) -> list[str]:
    """Return what is the same for every guest of this emulator, a probe guest too."""
    arguments = [emulator.binary, "-nodefaults", "-no-user-config", "-display", "none"]
    arguments += ["-machine", _MACHINES.get(architecture(), "q35"), "-accel", emulator.accelerator]
    arguments += ["-cpu", "host" if emulator.accelerator == "kvm" else "max"]
    if emulator.sandboxed:
        arguments += ["-sandbox", SANDBOX]
    return arguments


def guest_arguments(emulator: Emulator, spec: GuestSpec, files: GuestFiles, taps: Collection[int] = ()) -> list[str]:
    """Return the whole argument list of a guest's process; `taps` are the numbers of the cards that have a tap."""
    arguments = machine_arguments(emulator)
    arguments += ["-name", f"guest={_escaped(spec.uid)}"]
    arguments += ["-m", f"{spec.memory_bytes}b", "-smp", str(spec.cpus)]
    arguments += ["-pidfile", str(files.pidfile)]
    arguments += ["-chardev", f"socket,id=monitor,path={_escaped(str(files.monitor))},server=on,wait=off"]
    arguments += ["-mon", "chardev=monitor,mode=control"]
    arguments += ["-chardev", f"file,id=console,path={_escaped(str(files.serial_log))}", "-serial", "chardev:console"]
    arguments += _boot_arguments(spec)
    places = _boot_places(spec)
    for number, disk in enumerate(spec.disks):
        arguments += _disk_arguments(number, disk, places.get((BootDevice.DISK, number)))
    if spec.cdrom is not None:
        arguments += _cdrom_arguments(spec.cdrom, places.get((BootDevice.CDROM, 0)))
    for number, nic in enumerate(spec.nics):
        arguments += _nic_arguments(number, nic, places.get((BootDevice.NETWORK, number)), tap=number in taps)
    # The last, so that disks and cards are in the slots by which guests name them.
    return arguments + _display_arguments(files)


def _display_arguments(files: GuestFiles) -> list[str]:
    """Return a screen that is shown to whoever opens the socket; of its memory what is not drawn on is not used."""
    devices = [{"driver": "VGA", "id": "screen0"}]
    if _MACHINES.get(architecture(), "q35") != "q35":
        # Machines other than q35 have no keyboard of their own either.
        devices = [{"driver": "virtio-gpu-pci", "id": "screen0"}, {"driver": "virtio-keyboard-pci", "id": "keyboard0"}]
    arguments = ["-vnc", f"unix:{_escaped(str(files.display))}"]
    return arguments + [word for device in devices for word in ("-device", json.dumps(device))]


def _boot_places(spec: GuestSpec) -> dict[tuple[BootDevice, int], int]:
    """Return which place each device has among those that the firmware tries; none where a kernel is booted."""
    if spec.kernel is not None:
        return {}
    there = {BootDevice.DISK: len(spec.disks), BootDevice.CDROM: int(spec.cdrom is not None)}
    there[BootDevice.NETWORK] = len(spec.nics)
    tried = [(device, number) for device in spec.boot_order for number in range(there[device])]
    return {device: place for place, device in enumerate(tried)}


def _boot_arguments(spec: GuestSpec) -> list[str]:
    if spec.kernel is None:
        # Without this the firmware goes on to devices that the order leaves out.
        return ["-boot", "strict=on"]
    arguments = ["-kernel", str(spec.kernel)]
    if spec.initrd is not None:
        arguments += ["-initrd", str(spec.initrd)]
    if spec.kernel_arguments:
        arguments += ["-append", spec.kernel_arguments]
    return arguments


def _disk_arguments(number: int, disk: DiskSpec, place: int | None) -> list[str]:
    node = {
        "driver": disk.format,
        "node-name": f"disk{number}",
        "file": {"driver": "file", "filename": str(disk.path)},
    }
    device = {"driver": "virtio-blk-pci", "id": f"blk{number}", "drive": f"disk{number}", "serial": disk.serial}
    return ["-blockdev", json.dumps(node), "-device", json.dumps(_placed(device, place))]


def _cdrom_arguments(image: Path, place: int | None) -> list[str]:
    file = {"driver": "file", "filename": str(image), "read-only": True}
    node = {"driver": "raw", "node-name": "cdrom0", "read-only": True, "file": file}
    device: dict[str, object] = {"driver": "ide-cd", "id": "cd0", "bus": "ide.0", "drive": "cdrom0"}
    arguments = ["-blockdev", json.dumps(node)]
    if _MACHINES.get(architecture(), "q35") != "q35":
        # Machines other than q35 have no controller of their own for a drive.
        arguments += ["-device", json.dumps({"driver": "virtio-scsi-pci", "id": "scsi0"})]
        device = {"driver": "scsi-cd", "id": "cd0", "bus": "scsi0.0", "drive": "cdrom0"}
    return [*arguments, "-device", json.dumps(_placed(device, place))]


def _nic_arguments(number: int, nic: NicSpec, place: int | None, *, tap: bool) -> list[str]:
    device = {"driver": nic.model, "id": f"eth{number}", "netdev": f"net{number}", "mac": nic.mac}
    if place is None:
        # The card's own firmware boots by PXE; who does not ask for that need not have it installed.
        device["romfile"] = ""
    # User-mode network: the guest reaches outwards only through QEMU itself, which `restrict` forbids.
    kind = f"tap,id=net{number},fd={TAP_DESCRIPTOR + number}" if tap else f"user,id=net{number},restrict=on"
    return ["-netdev", kind, "-device", json.dumps(_placed(device, place))]


def _placed(device: Mapping[str, object], place: int | None) -> dict[str, object]:
    return {**device, "bootindex": place} if place is not None else {**device}


def _escaped(value: str) -> str:
    return value.replace(",", ",,")
