"""Start Virtual Machine: the best server of the pool, or a refusal that gives each one's reason."""

from __future__ import annotations

import pytest

from tests.unit.operations.estate import (
    GIB,
    actions,
    disk,
    done_by,
    field_of,
    finance,
    locks,
    refusal,
    repository,
    running,
    server,
    titles,
)
from virtyard.api.actions.v1 import start_guest_pb2
from virtyard.api.inventory.v1 import server_pb2, virtual_machine_pb2, write_objects_pb2
from virtyard.api.operations.v1 import start_virtual_machine_pb2
from virtyard.kernel.errors import CapacityExhausted, EtagMismatch, InvalidRequest, NotFound, WrongState

Request = start_virtual_machine_pb2.StartVirtualMachineRequest
WEB = "virtualMachines/web"
ASKED = Request(name=WEB)


def test_memory_is_reserved_before_the_guest_starts() -> None:
    """Reserve, start with the kill as its undo, record where it runs."""
    plan = finance().plan(ASKED)
    assert titles(plan) == ["Start Virtual Machine"]
    assert actions(plan) == [
        ("WriteObjects", "RevertWrites", "undoable"),
        ("StartGuest", "KillGuest", "undoable"),
        ("WriteObjects", "RevertWrites", "undoable"),
    ]
    reserved, recorded = done_by(plan, write_objects_pb2.WriteObjects)
    starting = reserved.writes[0].update.object.virtual_machine
    assert (starting.server, starting.state) == ("servers/a", virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STARTING)
    (claim,) = reserved.memory_reservations
    assert (claim.server, claim.memory_bytes) == ("servers/a", GIB)
    assert list(recorded.writes[0].update.update_mask.paths) == ["state", "placement"]


def test_placement_comes_from_the_started_guest() -> None:
    """Every field of a placement is bound to the hypervisor's answer."""
    bindings = finance().plan(ASKED).jobs[0].steps[2].bindings
    assert {binding.step for binding in bindings} == {"1/2"}
    bound = {binding.field_path.rpartition(".")[2] for binding in bindings}
    assert bound == set(virtual_machine_pb2.GuestPlacement.DESCRIPTOR.fields_by_name)


def test_guest_has_its_disks_and_cards_in_order() -> None:
    """In the order of their positions, whatever their names are."""
    estate = finance()
    estate.get("virtualDisks/web-disk0").position = 5
    (guest,) = done_by(estate.plan(ASKED), start_guest_pb2.StartGuest)
    assert [disk.serial for disk in guest.disks] == ["serialweb-disk1", "serialweb-disk0"]
    assert {disk.repository_path for disk in guest.disks} == {"/storage/r"}
    assert [nic.mac_address for nic in guest.nics] == ["52:54:00:00:00:00"]
    assert (guest.cpus, guest.memory_bytes, guest.kernel_path) == (2, GIB, "/storage/boot/vmlinuz")


def test_starts_on_one_server_run_together_and_keep_the_disks() -> None:
    """X on the machine alone; IX on the server, as memory is no lock; S on the disks, which stay as they are."""
    assert locks(finance().plan(ASKED)) == {
        WEB: "X",
        "serverPools/Finance": "IX",
        "servers/a": "IX",
        "virtualDisks/web-disk0": "S",
        "virtualDisks/web-disk1": "S",
        "repositories/R": "IS",
    }


def test_server_with_the_most_free_memory_is_chosen() -> None:
    """What is reserved counts as used; of equals the first by name is taken."""
    estate = finance()
    assert list(estate.plan(ASKED).servers) == ["servers/a"]
    estate.get("servers/a").reserved_memory_bytes = 1
    assert list(estate.plan(ASKED).servers) == ["servers/b"]
    estate.get("servers/b").state = server_pb2.SERVER_STATE_OFFLINE
    assert list(estate.plan(ASKED).servers) == ["servers/a"]


def test_server_of_another_pool_is_never_chosen() -> None:
    """However much memory it has free."""
    assert list(finance().add(server("c", free=999 * GIB)).plan(ASKED).servers) == ["servers/a"]


def test_server_may_be_named() -> None:
    """A named server is taken though another has more free."""
    estate = finance()
    estate.get("servers/b").reserved_memory_bytes = GIB
    assert list(estate.plan(Request(name=WEB, server="servers/b")).servers) == ["servers/b"]


def test_pool_without_room_is_refused_with_the_reason_of_each_server() -> None:
    """The message and the metadata name every server of the pool."""
    estate = finance()
    estate.get("servers/a").observed.memory_bytes = GIB - 1
    estate.get("servers/b").state = server_pb2.SERVER_STATE_OFFLINE
    refused = refusal(estate, ASKED)
    assert isinstance(refused, CapacityExhausted)
    assert (field_of(refused), refused.resource) == ("name", WEB)
    assert refused.metadata["servers/a"] == "has 1023 MiB free, 1024 MiB are needed"
    assert refused.metadata["servers/b"] == "is offline"
    for name in ("servers/a", "servers/b"):
        assert f"{name} {refused.metadata[name]}" in refused.message


def test_pool_without_an_online_server_is_in_the_wrong_state() -> None:
    """Where nobody is online, more memory would not help."""
    estate = finance()
    for name in ("servers/a", "servers/b"):
        estate.get(name).state = server_pb2.SERVER_STATE_OFFLINE
    refused = refusal(estate, ASKED)
    assert isinstance(refused, WrongState)
    assert "servers/a is offline; servers/b is offline" in refused.message


def test_overdrawn_server_shows_no_negative_memory() -> None:
    """A server whose memory shrank has nothing free, not less than nothing."""
    estate = finance()
    for name in ("servers/a", "servers/b"):
        estate.get(name).reserved_memory_bytes = 99 * GIB
    assert refusal(estate, ASKED).metadata["servers/a"].startswith("has 0 MiB free")


@pytest.mark.parametrize(
    ("wanted", "error", "words"),
    [
        ("servers/c", InvalidRequest, "allowed are servers/a, servers/b"),
        ("servers/none", NotFound, "does not exist"),
        ("servers/b", CapacityExhausted, "servers/b has"),
    ],
)
def test_named_server_that_cannot_be_is_refused(wanted: str, error: type[Exception], words: str) -> None:
    """Of another pool, unknown, or full: the refusal names the field server."""
    estate = finance()
    estate.get("servers/b").reserved_memory_bytes = 8 * GIB
    refused = refusal(estate, Request(name=WEB, server=wanted))
    assert type(refused) is error
    assert field_of(refused) == "server"
    assert words in refused.message


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STARTING, "starting"),
        (virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING, "running"),
        (virtual_machine_pb2.VIRTUAL_MACHINE_STATE_DELETING, "deleting"),
        (virtual_machine_pb2.VIRTUAL_MACHINE_STATE_UNSPECIFIED, "not known"),
    ],
)
def test_machine_that_is_not_stopped_is_refused(
    state: virtual_machine_pb2.VirtualMachineState.ValueType, word: str
) -> None:
    """The refusal says the state that it has and the one that it must have."""
    estate = finance()
    estate.get(WEB).state = state
    refused = refusal(estate, ASKED)
    assert isinstance(refused, WrongState)
    assert refused.message == f"name: {WEB} is {word}; it must be stopped"


def test_machine_without_a_pool_is_refused() -> None:
    """It has no servers to choose from."""
    estate = finance()
    estate.get(WEB).server_pool = ""
    assert isinstance(refusal(estate, ASKED), WrongState)


def test_absent_or_changed_machine_is_refused() -> None:
    """The name must exist, and be what the caller read."""
    assert isinstance(refusal(finance(), Request(name="virtualMachines/none")), NotFound)
    assert isinstance(refusal(running(), Request(name=WEB, etag="old")), EtagMismatch)


def test_server_without_a_repository_of_the_machine_is_not_chosen() -> None:
    """Each server is named with what it lacks; one that has them all is taken, though it has less memory."""
    estate = finance().add(repository("S", path="/storage/s", servers=["servers/b"]))
    estate.add(disk("web-disk2", of="web", position=2, repository="repositories/S"))
    estate.get("servers/b").observed.memory_bytes = 2 * GIB
    assert list(estate.plan(ASKED).servers) == ["servers/b"]
    estate.get("repositories/S").servers[:] = []
    refused = refusal(estate, ASKED)
    assert refused.metadata["servers/a"] == "does not have S presented to it"
    assert refused.metadata["servers/b"] == "does not have S presented to it"


def test_server_that_is_behind_runs_no_machine() -> None:
    """Until it has caught up with what it missed (P16)."""
    estate = finance()
    estate.get("servers/a").desired_revision = 1
    assert list(estate.plan(ASKED).servers) == ["servers/b"]
    refused = refusal(estate, Request(name=WEB, server="servers/a"))
    assert refused.metadata["servers/a"] == "is 1 change behind and must be refreshed first"
    estate.get("servers/a").applied_revision = 1
    assert list(estate.plan(ASKED).servers) == ["servers/a"]


def test_a_guest_that_runs_already_is_taken_over_where_it_runs() -> None:
    """A restored record may say that a machine is stopped; the last report of its server knows better."""
    estate = finance()
    machine = estate.get(WEB)
    estate.get("servers/b").observed.guest_uids.append(machine.uid)
    for request in (ASKED, Request(name=WEB, server="servers/b")):
        plan = estate.plan(request)
        assert plan.jobs[0].steps[1].participant == "servers/b"
        (guest,) = done_by(plan, start_guest_pb2.StartGuest)
        assert guest.adopt
    refused = refusal(estate, Request(name=WEB, server="servers/a"))
    assert "runs on servers/b already" in refused.message
    (guest,) = done_by(finance().plan(ASKED), start_guest_pb2.StartGuest)
    assert not guest.adopt


def test_no_machine_starts_where_a_server_may_run_it() -> None:
    """A server of the pool that was not heard of since a restore is named; one that is offline is in nobody's way."""
    estate = finance()
    estate.get("servers/b").state = server_pb2.SERVER_STATE_UNSPECIFIED
    assert "servers/b may run virtualMachines/web" in refusal(estate, ASKED).message
    estate.get("servers/b").state = server_pb2.SERVER_STATE_OFFLINE
    assert titles(estate.plan(ASKED)) == ["Start Virtual Machine"]
