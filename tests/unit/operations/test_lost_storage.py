"""Planning around storage that a server has lost: it is given no work there, unless nobody has it any more."""

from __future__ import annotations

from typing import Any

from tests.unit.operations.estate import Estate, finance, new_disk, refusal, running
from virtyard.api.inventory.v1 import repository_pb2, virtual_machine_pb2
from virtyard.api.operations.v1 import edit_virtual_machine_pb2, start_virtual_machine_pb2

WEB = "virtualMachines/web"


def without(*servers: str) -> Estate:
    """Return an estate whose repository these servers have lost."""
    estate = finance()
    repository: Any = estate.get("repositories/R")
    repository.lost_servers[:] = servers
    return estate


def servers(estate: Estate) -> list[str]:
    """Return the servers that make the image of a new disk."""
    return list(estate.plan(new_disk()).servers)


def test_another_server_does_the_work() -> None:
    """Whichever has lost the storage, one that has it makes the image."""
    members = list(finance().get("repositories/R").servers)
    assert len(members) > 1
    for name in members:
        (chosen,) = servers(without(name))
        assert chosen in set(members) - {name}


def test_what_nobody_has_is_refused_with_its_state() -> None:
    """The repository shows that it is unavailable."""
    estate = without(*finance().get("repositories/R").servers)
    estate.get("repositories/R").state = repository_pb2.REPOSITORY_STATE_UNAVAILABLE
    assert "repositories/R is unavailable; it must be ready" in refusal(estate, new_disk()).message


def test_a_machine_starts_where_its_disks_are() -> None:
    """A server that has lost them is passed over, and named with that reason if it is asked for."""
    chosen = start_virtual_machine_pb2.StartVirtualMachineRequest(name=WEB)
    for name in ("servers/a", "servers/b"):
        assert name not in without(name).plan(chosen).servers
    chosen.server = "servers/a"
    assert "servers/a has lost the storage of R" in refusal(without("servers/a"), chosen).message


def test_the_restart_policy_of_a_running_machine_can_be_changed() -> None:
    """It is nothing of the guest; together with what is, the machine must be stopped."""
    wanted = virtual_machine_pb2.VirtualMachine(name=WEB, restart_policy=virtual_machine_pb2.RESTART_POLICY_ALWAYS)
    request = edit_virtual_machine_pb2.EditVirtualMachineRequest(virtual_machine=wanted)
    assert running().plan(request).jobs[0].title == "Edit Virtual Machine"
    request.virtual_machine.cpus = 3
    assert f"{WEB} is running; it must be stopped" in refusal(running(), request).message
