"""The view: what is found in it, what it refuses, and what it says was read."""

from __future__ import annotations

import pytest

from virtyard.api.inventory.v1 import server_pb2, server_pool_pb2, virtual_machine_pb2, vnic_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import EtagMismatch, NotFound
from virtyard.kernel.names import wrap
from virtyard.kernel.view import View, changed_objects, select

POOL = server_pool_pb2.ServerPool(name="serverPools/p", uid="1", generation=4)
SERVER = server_pb2.Server(name="servers/b", uid="2", generation=5, etag="now", server_pool="serverPools/p")
OTHER = server_pb2.Server(name="servers/a", uid="3", generation=6, server_pool="serverPools/p")
MACHINE = virtual_machine_pb2.VirtualMachine(name="virtualMachines/m", uid="4", server_pool="serverPools/p")
CARD = vnic_pb2.Vnic(name="vnics/n", uid="5", virtual_machine="virtualMachines/m")
SELECTIONS = [select("vnics/n", "virtual_machine/server_pool/servers@server_pool"), select("servers/free")]
VIEW = View(map(wrap, (POOL, SERVER, OTHER, MACHINE, CARD)), SELECTIONS, sequence=9, owner_id="me")


def test_objects_are_found_by_name_and_class() -> None:
    """A name of another class is not taken for what was asked."""
    assert VIEW.find("servers/b", server_pb2.Server) == SERVER
    assert VIEW.find("servers/b", server_pool_pb2.ServerPool) is None
    assert VIEW.find("servers/none", server_pb2.Server) is None
    assert VIEW.exists("servers/b")
    assert not VIEW.exists("servers/free")


def test_absent_object_is_refused_with_its_field() -> None:
    """The refusal says what kind of object it is and who named it."""
    with pytest.raises(NotFound) as caught:
        VIEW.get("servers/none", server_pb2.Server, field="server")
    assert caught.value.message == "server: server servers/none does not exist"
    assert (caught.value.resource, caught.value.metadata) == ("servers/none", {"field": "server"})


def test_etag_is_compared_if_there_is_one() -> None:
    """An empty etag means whatever it is now."""
    assert VIEW.get("servers/b", server_pb2.Server) == VIEW.get("servers/b", server_pb2.Server, etag="now") == SERVER
    with pytest.raises(EtagMismatch) as caught:
        VIEW.get("servers/b", server_pb2.Server, etag="then")
    assert caught.value.metadata["etag"] == "now"


def test_objects_of_a_class_come_by_name() -> None:
    """Whatever order they were read in; fields narrow them down."""
    assert VIEW.of(server_pb2.Server) == [OTHER, SERVER]
    assert VIEW.of(server_pb2.Server, server_pool="serverPools/p", generation=5) == [SERVER]
    assert VIEW.of(server_pb2.Server, server_pool="") == []


def test_ancestors_come_nearest_first() -> None:
    """Up the lock tree, as far as was read."""
    assert list(VIEW.ancestors("vnics/n")) == ["virtualMachines/m", "serverPools/p"]
    assert list(VIEW.ancestors("serverPools/p")) == []
    assert list(VIEW.ancestors("servers/free")) == []
    assert list(View([wrap(CARD)], []).ancestors("vnics/n")) == ["virtualMachines/m"]


def test_requirement_names_every_object_and_every_free_name() -> None:
    """Objects with uid and generation, free names without, in the order of the names."""
    requirement = VIEW.requirement()
    assert [(version.object, version.uid, version.generation) for version in requirement.versions] == [
        ("serverPools/p", "1", 4),
        ("servers/a", "3", 6),
        ("servers/b", "2", 5),
        ("servers/free", "", 0),
        ("virtualMachines/m", "4", 0),
        ("vnics/n", "5", 0),
    ]
    assert list(requirement.selections) == SELECTIONS


@pytest.mark.parametrize(
    ("objects", "changed"),
    [
        ((POOL, SERVER, OTHER, MACHINE, CARD), []),
        ((POOL, OTHER, MACHINE, CARD), ["servers/b"]),
        ((POOL, SERVER, OTHER, MACHINE, CARD, server_pb2.Server(name="servers/free", uid="6")), ["servers/free"]),
        ((POOL, SERVER, OTHER, MACHINE, CARD, server_pb2.Server(name="servers/new", uid="7")), ["servers/new"]),
        (
            (server_pool_pb2.ServerPool(name="serverPools/p", uid="1", generation=5), SERVER, OTHER, MACHINE, CARD),
            ["serverPools/p"],
        ),
        (
            (server_pool_pb2.ServerPool(name="serverPools/p", uid="8", generation=4), SERVER, OTHER, MACHINE, CARD),
            ["serverPools/p"],
        ),
    ],
)
def test_second_reading_tells_what_changed(
    objects: tuple[
        server_pool_pb2.ServerPool | server_pb2.Server | virtual_machine_pb2.VirtualMachine | vnic_pb2.Vnic, ...
    ],
    changed: list[str],
) -> None:
    """Gone, taken, new in a relation, changed, or made anew under its name (P4)."""
    again = View(map(wrap, objects), SELECTIONS)
    assert changed_objects(VIEW.requirement(), again.requirement()) == changed


def test_selection_keeps_its_paths() -> None:
    """In the order in which they are given."""
    assert select("a/b", "x", "y@z") == participant.Selection(object="a/b", follow=["x", "y@z"])
