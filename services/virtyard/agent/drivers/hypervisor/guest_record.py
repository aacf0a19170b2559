"""What a driver keeps on disk of one guest, and what it checks before it makes one."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from virtyard.agent.drivers.hypervisor.contract import BootDevice, DiskSpec, GuestSpec, NicSpec
from virtyard.agent.drivers.process import ProcessIdentity
from virtyard.kernel.errors import InvalidRequest

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)
_NIC_MODELS = ("virtio-net-pci", "e1000")
_DISK_FORMATS = ("qcow2", "raw")
_LEAST_MEMORY = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRecord:
    """One guest of this host; durable before its process exists."""

    spec: GuestSpec
    """What was asked for."""
    mark: str
    """The step key of the effect that started it."""
    accelerator: str
    """What it runs on."""
    started: datetime
    """When, by the host's clock."""
    process: ProcessIdentity | None = None
    """Its process; None until that exists."""
    booted: str = ""
    """The step key of the effect that booted it last; empty while that is the one that started it."""


def encode(record: GuestRecord) -> dict[str, Any]:
    """Return the record as JSON can hold it."""
    spec = dataclasses.asdict(record.spec)
    spec["kernel"] = str(record.spec.kernel) if record.spec.kernel else None
    spec["initrd"] = str(record.spec.initrd) if record.spec.initrd else None
    spec["disks"] = [{**disk, "path": str(disk["path"])} for disk in spec["disks"]]
    spec["cdrom"] = str(record.spec.cdrom) if record.spec.cdrom else None
    spec["boot_order"] = [device.value for device in record.spec.boot_order]
    return {
        "spec": spec,
        "mark": record.mark,
        "accelerator": record.accelerator,
        "started": record.started.isoformat(),
        "process": dataclasses.asdict(record.process) if record.process else None,
        "booted": record.booted,
    }


def decode(stored: Mapping[str, Any]) -> GuestRecord:
    """Return what `encode` was given."""
    spec = dict(stored["spec"])
    spec["kernel"] = Path(spec["kernel"]) if spec["kernel"] else None
    spec["initrd"] = Path(spec["initrd"]) if spec["initrd"] else None
    spec["disks"] = tuple(DiskSpec(**{**disk, "path": Path(disk["path"])}) for disk in spec["disks"])
    spec["nics"] = tuple(NicSpec(**nic) for nic in spec["nics"])
    # A record that an earlier agent wrote has neither.
    spec["cdrom"] = Path(spec["cdrom"]) if spec.get("cdrom") else None
    spec["boot_order"] = tuple(map(BootDevice, spec.get("boot_order", ("disk", "cdrom"))))
    return GuestRecord(
        spec=GuestSpec(**spec),
        mark=stored["mark"],
        accelerator=stored["accelerator"],
        started=datetime.fromisoformat(stored["started"]),
        process=ProcessIdentity(**stored["process"]) if stored["process"] else None,
        booted=stored.get("booted", ""),
    )


def check_spec(spec: GuestSpec) -> None:
    """Refuse values that cannot be, and files that are not there.

    Raises:
        InvalidRequest: naming the field of `GuestSpec`.
    """
    check_values(spec)
    for field, path in (("kernel", spec.kernel), ("initrd", spec.initrd), ("cdrom", spec.cdrom)):
        if path is not None and not path.is_file():
            raise InvalidRequest.of(field, f"must be a file on this host; {path} is not")
    for number, disk in enumerate(spec.disks):
        if not disk.path.is_file():
            raise InvalidRequest.of(f"disks[{number}].path", f"must be a file on this host; {disk.path} is not")


def check_values(spec: GuestSpec) -> None:
    """Refuse values that cannot be, without a look at the host.

    Raises:
        InvalidRequest: naming the field of `GuestSpec`.
    """
    if not _UID.fullmatch(spec.uid):
        raise InvalidRequest.of("uid", "must be 1 to 64 letters, digits, dots, dashes or underscores")
    if spec.cpus < 1:
        raise InvalidRequest.of("cpus", "must be at least 1")
    if spec.memory_bytes < _LEAST_MEMORY or spec.memory_bytes % 4096:
        raise InvalidRequest.of("memory_bytes", "must be at least 1 MiB and a multiple of 4096 bytes")
    for number, disk in enumerate(spec.disks):
        if disk.format not in _DISK_FORMATS:
            raise InvalidRequest.of(f"disks[{number}].format", f"must be one of {', '.join(_DISK_FORMATS)}")
        if not disk.serial.isascii() or not 1 <= len(disk.serial) <= 20:
            raise InvalidRequest.of(f"disks[{number}].serial", "must be 1 to 20 ASCII characters")
    for number, nic in enumerate(spec.nics):
        if not _MAC.fullmatch(nic.mac):
            raise InvalidRequest.of(f"nics[{number}].mac", "must be a hardware address such as 52:54:00:12:34:56")
        if nic.model not in _NIC_MODELS:
            raise InvalidRequest.of(f"nics[{number}].model", f"must be one of {', '.join(_NIC_MODELS)}")
