"""Field masks take over exactly what they name."""

from __future__ import annotations

import pytest

from virtyard.api.inventory.v1 import cluster_pb2, server_pb2, virtual_machine_pb2
from virtyard.inventory.masks import check_paths, take_over
from virtyard.kernel.errors import InvalidRequest

SOURCE = virtual_machine_pb2.VirtualMachine(
    name="virtualMachines/m",
    display_name="new",
    cpus=4,
    labels={"a": "1"},
    boot=virtual_machine_pb2.BootSource(kernel_path="/k", initrd_path="/i"),
)


def target() -> virtual_machine_pb2.VirtualMachine:
    """Return a machine that differs in every field."""
    return virtual_machine_pb2.VirtualMachine(
        name="virtualMachines/m",
        display_name="old",
        description="kept",
        cpus=1,
        labels={"b": "2"},
        boot=virtual_machine_pb2.BootSource(kernel_path="/old", kernel_arguments="quiet"),
        placement=virtual_machine_pb2.GuestPlacement(process_id=7),
    )


def test_scalar_map_and_message_are_replaced() -> None:
    """A masked map or message is replaced as a whole, not merged."""
    taken = target()
    take_over(SOURCE, taken, ["display_name", "labels", "boot"])
    assert (taken.display_name, dict(taken.labels), taken.boot) == ("new", {"a": "1"}, SOURCE.boot)
    assert (taken.description, taken.cpus, taken.placement.process_id) == ("kept", 1, 7)


def test_unset_field_is_cleared() -> None:
    """A masked field that the source does not have is cleared."""
    taken = target()
    take_over(SOURCE, taken, ["description", "placement"])
    assert not taken.description
    assert not taken.HasField("placement")


def test_path_reaches_into_a_message() -> None:
    """A path with a dot takes over one field of a message."""
    taken = target()
    take_over(SOURCE, taken, ["boot.kernel_path"])
    assert (taken.boot.kernel_path, taken.boot.kernel_arguments) == ("/k", "quiet")


def test_empty_message_stays_set() -> None:
    """A message that is set and empty is taken over as set."""
    source = server_pb2.Server(name="servers/s", observed=server_pb2.ServerObservation())
    taken = server_pb2.Server(name="servers/s")
    take_over(source, taken, ["observed"])
    assert taken.HasField("observed")


def test_repeated_messages_are_replaced() -> None:
    """A masked list is replaced as a whole."""
    source = cluster_pb2.Cluster(members=[cluster_pb2.ClusterMember(server="servers/a", slot=1)])
    taken = cluster_pb2.Cluster(members=[cluster_pb2.ClusterMember(server="servers/b", slot=2)])
    take_over(source, taken, ["members"])
    assert taken == source


@pytest.mark.parametrize(
    "paths", [[], ["nothing"], ["boot.nothing"], ["name"], ["uid.x"], ["virtual_disks"], ["labels.a"], [""]]
)
def test_mask_that_cannot_be_written_is_refused(paths: list[str]) -> None:
    """Unknown fields, fields that the inventory keeps, and paths into maps are refused."""
    with pytest.raises(InvalidRequest):
        check_paths(SOURCE, paths, "update_mask")
