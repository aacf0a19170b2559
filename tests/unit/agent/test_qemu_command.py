"""The argument list of a QEMU process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from virtyard.agent.drivers.hypervisor.contract import BootDevice, DiskSpec, GuestSpec, NicSpec
from virtyard.agent.drivers.hypervisor.qemu_command import SANDBOX, Emulator, GuestFiles, guest_arguments

FILES = GuestFiles(folder=Path("/state/guests/a,b"), monitor=Path("/run/x.qmp"), display=Path("/run/x.vnc"))
EMULATOR = Emulator(binary="/usr/bin/qemu", version="7.2")


def spec() -> GuestSpec:
    """A guest whose every text tries to be an option."""
    return GuestSpec(
        uid="db,debug-threads=on",
        name="virtualMachines/db",
        cpus=2,
        memory_bytes=256 << 20,
        kernel=Path("/srv/vmlinuz"),
        initrd=Path("/srv/initrd"),
        kernel_arguments="console=ttyS0 -monitor stdio; reboot",
        disks=(DiskSpec(path=Path('/srv/a,b".qcow2'), format="qcow2", serial="s,readonly=on"),),
        nics=(NicSpec(mac="52:54:00:12:34:56"),),
    )


def value_of(arguments: list[str], option: str) -> str:
    """The value of an option that is given once."""
    (position,) = [index for index, argument in enumerate(arguments) if argument == option]
    return arguments[position + 1]


def test_no_text_becomes_an_option() -> None:
    """Commas are doubled or stand in JSON, and the kernel's arguments are one argument."""
    arguments = guest_arguments(EMULATOR, spec(), FILES)
    assert value_of(arguments, "-name") == "guest=db,,debug-threads=on"
    assert value_of(arguments, "-append") == "console=ttyS0 -monitor stdio; reboot"
    assert json.loads(value_of(arguments, "-blockdev"))["file"]["filename"] == '/srv/a,b".qcow2'
    devices = [json.loads(arguments[index + 1]) for index, one in enumerate(arguments) if one == "-device"]
    assert [device["driver"] for device in devices] == ["virtio-blk-pci", "virtio-net-pci", "VGA"]
    assert devices[0]["serial"] == "s,readonly=on"
    assert "path=/state/guests/a,,b/serial.log" in value_of(arguments, "-serial") or any(
        "path=/state/guests/a,,b/serial.log" in argument for argument in arguments
    )


def test_a_guest_is_confined_and_has_what_was_asked_for() -> None:
    """Sandbox, memory, processors and accelerator are as they should be."""
    arguments = guest_arguments(EMULATOR, spec(), FILES)
    assert value_of(arguments, "-sandbox") == SANDBOX
    assert value_of(arguments, "-m") == f"{256 << 20}b"
    assert value_of(arguments, "-smp") == "2"
    assert value_of(arguments, "-vnc") == "unix:/run/x.vnc"
    assert (value_of(arguments, "-accel"), value_of(arguments, "-cpu")) == ("tcg", "max")
    assert "restrict=on" in value_of(arguments, "-netdev")
    assert {"-nodefaults", "-no-user-config"} <= set(arguments)


def test_kvm_shows_the_hosts_processor() -> None:
    """A proven KVM runs guests on the host's own processor model."""
    emulator = Emulator(binary="/usr/bin/qemu", version="7.2", accelerator="kvm", sandboxed=False)
    arguments = guest_arguments(emulator, spec(), FILES)
    assert (value_of(arguments, "-accel"), value_of(arguments, "-cpu")) == ("kvm", "host")
    assert "-sandbox" not in arguments


def devices(spec: GuestSpec) -> dict[str, dict[str, Any]]:
    """Return the devices of a guest by their ids."""
    arguments = guest_arguments(EMULATOR, spec, FILES)
    found = [json.loads(arguments[index + 1]) for index, one in enumerate(arguments) if one == "-device"]
    return {device["id"]: device for device in found}


@pytest.mark.parametrize(
    ("order", "places"),
    [
        ((BootDevice.DISK, BootDevice.CDROM), {"blk0": 0, "blk1": 1, "cd0": 2, "eth0": None}),
        ((BootDevice.CDROM, BootDevice.DISK), {"cd0": 0, "blk0": 1, "blk1": 2, "eth0": None}),
        ((BootDevice.NETWORK,), {"blk0": None, "blk1": None, "cd0": None, "eth0": 0}),
    ],
)
def test_firmware_tries_the_devices_in_their_order(
    order: tuple[BootDevice, ...], places: dict[str, int | None]
) -> None:
    """And no others; a card that is not booted from needs no firmware of its own."""
    booting = replace(
        spec(),
        kernel=None,
        initrd=None,
        kernel_arguments="",
        disks=spec().disks * 2,
        cdrom=Path('/srv/a,b".iso'),
        boot_order=order,
    )
    found = devices(booting)
    assert {name: found[name].get("bootindex") for name in places} == places
    assert ("romfile" in found["eth0"]) == (places["eth0"] is None)
    assert value_of(guest_arguments(EMULATOR, booting, FILES), "-boot") == "strict=on"


def test_a_drive_cannot_be_written_to() -> None:
    """The image of a CD-ROM is read as it is, whatever is in it; beside a kernel it is no boot device."""
    arguments = guest_arguments(EMULATOR, replace(spec(), cdrom=Path('/srv/a,b".iso')), FILES)
    nodes = [json.loads(arguments[index + 1]) for index, one in enumerate(arguments) if one == "-blockdev"]
    (node,) = [node for node in nodes if node["node-name"] == "cdrom0"]
    assert (node["driver"], node["read-only"], node["file"]["read-only"]) == ("raw", True, True)
    assert node["file"]["filename"] == '/srv/a,b".iso'
    assert "bootindex" not in devices(replace(spec(), cdrom=Path("/srv/a.iso")))["cd0"]
    assert "-boot" not in arguments
