"""What a driver keeps of a guest."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from virtyard.agent.drivers.hypervisor.contract import BootDevice, DiskSpec, GuestSpec, NicSpec
from virtyard.agent.drivers.hypervisor.guest_record import GuestRecord, decode, encode
from virtyard.agent.drivers.process import ProcessIdentity


def test_a_record_survives_its_file() -> None:
    """What is read back from JSON is what was written, with and without the optional parts."""
    small = GuestSpec(uid="a", name="virtualMachines/a", cpus=1, memory_bytes=1 << 20)
    large = GuestSpec(
        uid="b",
        name="virtualMachines/b",
        cpus=2,
        memory_bytes=1 << 30,
        kernel=Path("/k"),
        initrd=Path("/i"),
        kernel_arguments="quiet",
        disks=(DiskSpec(path=Path("/d"), format="raw", serial="s"),),
        nics=(NicSpec(mac="52:54:00:00:00:01"),),
        cdrom=Path("/c"),
        boot_order=(BootDevice.CDROM, BootDevice.NETWORK),
    )
    process = ProcessIdentity(pid=7, start_ticks=99, boot="boot")
    started = datetime(2030, 1, 1, tzinfo=UTC)
    for record in (
        GuestRecord(spec=small, mark="1/1/1", accelerator="none", started=started),
        GuestRecord(spec=large, mark="1/1/1", accelerator="kvm", started=started, process=process),
    ):
        assert decode(json.loads(json.dumps(encode(record)))) == record


def test_a_record_of_an_earlier_agent_is_read() -> None:
    """One from before there were drives has none, and boots as it did."""
    spec = GuestSpec(uid="a", name="virtualMachines/a", cpus=1, memory_bytes=1 << 20)
    record = GuestRecord(spec=spec, mark="1/1/1", accelerator="none", started=datetime(2030, 1, 1, tzinfo=UTC))
    stored = encode(record)
    del stored["spec"]["cdrom"], stored["spec"]["boot_order"]
    assert decode(stored) == record
