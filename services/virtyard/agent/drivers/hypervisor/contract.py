"""The hypervisor contract: what an agent asks of whatever runs machines on its host.

A guest outlives the agent: a driver that is opened again finds the guests that it started, by the record and the mark
that it wrote before each of them began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpec:
    """One disk of a guest."""

    path: Path
    """Absolute path of the disk file."""
    format: str
    """`qcow2` or `raw`."""
    serial: str
    """What the guest reads as the disk's serial number; at most 20 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NicSpec:
    """One network card of a guest."""

    mac: str
    """Hardware address, as `52:54:00:12:34:56`."""
    model: str = "virtio-net-pci"
    """The device that the guest sees."""
    bridge: str = ""
    """The bridge of this host that it is plugged into; a network of its own if empty."""


class BootDevice(Enum):
    """A kind of device that a guest's firmware boots from."""

    DISK = "disk"
    """The disks in their order."""
    CDROM = "cdrom"
    """The image in the CD-ROM drive."""
    NETWORK = "network"
    """The network cards in their order, by PXE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSpec:
    """Everything that a guest is made of."""

    uid: str
    """The uid of the virtual machine; a host runs at most one guest of it."""
    name: str
    """The resource name of the virtual machine."""
    cpus: int
    """Number of virtual processors."""
    memory_bytes: int
    """Memory of the guest in bytes."""
    kernel: Path | None = None
    """Absolute path of the kernel that is booted; None for the firmware to boot."""
    initrd: Path | None = None
    """Absolute path of the initial file system, if there is one."""
    kernel_arguments: str = ""
    """The kernel's command line."""
    disks: tuple[DiskSpec, ...] = ()
    """The disks, in the order in which the guest sees them."""
    cdrom: Path | None = None
    """Absolute path of the ISO image in the CD-ROM drive; no drive if None."""
    boot_order: tuple[BootDevice, ...] = (BootDevice.DISK, BootDevice.CDROM)
    """What the firmware tries, the first one first, and nothing else."""
    nics: tuple[NicSpec, ...] = ()
    """The network cards, in the order in which the guest sees them."""


class GuestEnd(Enum):
    """How the run of a guest ended."""

    CRASHED = "crashed"
    """Its process vanished, or was ended by hand; the guest did not ask for it."""
    BY_GUEST = "by_guest"
    """The guest shut itself down."""
    BY_ACTION = "by_action"
    """This driver was asked to end it, and is about it."""
    UNKNOWN = "unknown"
    """It does not run, and nothing tells how that came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestInfo:
    """A guest as the driver finds it."""

    uid: str
    """The uid of the virtual machine."""
    name: str
    """The resource name of the virtual machine."""
    mark: str
    """The step key of the effect that started it."""
    pid: int
    """The process id on the host; 0 where there is no process."""
    running: bool
    """False once it has ended by itself; its record and its log stay until it is killed, forgotten or started again."""
    accelerator: str
    """`kvm`, `tcg` or `none`."""
    serial_log: Path | None
    """Where the serial console is written."""
    display: Path | None
    """The Unix socket at which it speaks RFB; None where it has no display, as if simulated, and once it has ended."""
    started: datetime
    """When it was started, by the host's clock; for display only."""
    run: str = ""
    """Tells this run from every other one, on any host; empty where there was none yet."""
    end: GuestEnd | None = None
    """How the run ended; None while it goes on, and where that was not asked for."""
    end_reason: str = ""
    """What is known of the end, as a person reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Whether a driver works on this host, found out by trying."""

    supported: bool
    """True if guests can be started."""
    reason: str
    """Why, or why not, as a person reads it."""
    details: Mapping[str, str] = field(default_factory=dict)
    """Facts found on the way: version, accelerator and why."""


class Hypervisor(Protocol):
    """Runs guests on this host; every method may be repeated safely."""

    @property
    def name(self) -> str:
        """The driver's name, as it is chosen and reported: `qemu` or `sim`."""
        ...

    @property
    def accelerator(self) -> str:
        """What guests run on: `kvm`, `tcg` or `none`; known after `probe`."""
        ...

    async def open(self) -> None:
        """Find the guests that an earlier agent started, and watch them."""
        ...

    async def close(self) -> None:
        """Stop watching; the guests run on."""
        ...

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the event loop whenever a guest starts or ends, also by itself."""
        ...

    async def probe(self) -> Probe:
        """Tell whether guests can run here, by trying."""
        ...

    async def start(self, spec: GuestSpec, mark: str) -> GuestInfo:
        """Start a guest; when cancelled, nothing of it is left.

        A guest of this uid that runs under the same mark is returned as it is; one that has ended is started again.

        Raises:
            AlreadyExists: a guest of this uid runs, started under another mark.
            InvalidRequest: a value cannot be what it is; the violation names the field of `GuestSpec`.
            CapacityExhausted: the host has no memory for it.
            Unavailable: the hypervisor refused; its own words are in the message.
        """
        ...

    async def kill(self, uid: str) -> bool:
        """End the guest at once and forget it; False if it did not run."""
        ...

    async def forget(self, uid: str, run: str) -> bool:
        """Forget a guest that has ended, with its log; False if there is none, it runs, or its last run is another."""
        ...

    async def shut_down(self, uid: str, grace: float, *, on_wait: Callable[[int], None]) -> bool:
        """Ask the guest to shut down and wait until it has; `boot` brings it back, `kill` ends it for good.

        When cancelled, the guest runs as before: one that had shut down boots again.

        Args:
            uid: the guest; one that does not run has shut down.
            grace: how long to wait, in seconds.
            on_wait: is told from time to time how many seconds have passed.

        Returns:
            False if it still ran when the time was over; it is not asked any more then.
        """
        ...

    async def is_down(self, uid: str) -> bool:
        """Tell whether a guest that was asked to shut down has; one that has not is not asked any more."""
        ...

    async def boot(self, uid: str, mark: str) -> GuestInfo:
        """Boot the guest again, cutting short what it does; one that has ended is started as it was.

        A guest that was booted under the same mark is returned as it is.

        Raises:
            WrongState: there never was such a guest, or it was killed.
            CapacityExhausted, Unavailable: as for `start`.
        """
        ...

    async def find(self, uid: str) -> GuestInfo | None:
        """Return the guest after asking the hypervisor itself, or None if it was never started or was killed."""
        ...

    async def guests(self) -> list[GuestInfo]:
        """Return every guest of this host, those of an earlier agent too, sorted by uid; of those that ended, how."""
        ...
