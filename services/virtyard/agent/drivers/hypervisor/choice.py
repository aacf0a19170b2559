"""The choice of a hypervisor driver: the one that was asked for, or the first that works, and why."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from virtyard.agent.drivers.hypervisor.contract import Hypervisor, Probe
from virtyard.agent.drivers.hypervisor.sim import SimHypervisor
from virtyard.agent.drivers.network.contract import Network
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import InvalidRequest, Unsupported

KINDS = ("auto", "qemu", "sim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The driver that a host uses."""

    hypervisor: Hypervisor
    """The driver, probed and not yet opened."""
    reason: str
    """Why this one, as a person reads it."""


async def choose(kind: str, *, state: Path, sockets: Path, clock: Clock, network: Network | None = None) -> Choice:
    """Return the driver of `kind`; `auto` takes QEMU where a guest really ran and simulates otherwise.

    Raises:
        InvalidRequest: there is no such kind.
        Unsupported: the driver that was asked for does not work here.
    """
    if kind not in KINDS:
        raise InvalidRequest.of("driver", f"must be one of {', '.join(KINDS)}")
    sim = SimHypervisor(state=state / "sim", clock=clock)
    if kind == "sim":
        return Choice(hypervisor=sim, reason="simulation was asked for")
    qemu, probe = await _qemu(state / "qemu", sockets, clock, network)
    if qemu is not None and probe.supported:
        return Choice(hypervisor=qemu, reason=probe.reason)
    if kind == "qemu":
        raise Unsupported(f"the qemu driver does not work here: {probe.reason}")
    return Choice(hypervisor=sim, reason=f"machines are simulated: {probe.reason}")


async def _qemu(state: Path, sockets: Path, clock: Clock, network: Network | None) -> tuple[Hypervisor | None, Probe]:
    if importlib.util.find_spec("qemu") is None or importlib.util.find_spec("qemu.qmp") is None:
        return None, Probe(supported=False, reason="the Python package qemu.qmp is not installed")
    from virtyard.agent.drivers.hypervisor.qemu import QemuHypervisor  # its library is an optional extra

    driver = QemuHypervisor(state=state, sockets=sockets, clock=clock, network=network)
    return driver, await driver.probe()
