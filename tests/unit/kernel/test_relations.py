"""Relations: which fields are stored, and the lock tree that some of them form."""

from __future__ import annotations

import pytest

from virtyard.api.inventory.v1 import (
    cluster_pb2,
    repository_pb2,
    server_pb2,
    virtual_disk_pb2,
    virtual_machine_pb2,
    vnic_pb2,
)
from virtyard.kernel.names import kinds
from virtyard.kernel.options import descriptor_of, reference_type
from virtyard.kernel.relations import LOCK_PARENTS, ancestor_collections, lock_parent, reference_fields, references

STORED = {
    "servers": ("server_pool",),
    "serverPools": (),
    "clusters": ("server_pool", "heartbeat_device"),
    "heartbeatDevices": ("server_pool",),
    "repositories": ("server_pool", "servers"),
    "virtualDisks": ("repository", "virtual_machine", "image"),
    "virtualMachines": ("server_pool", "server", "cdrom"),
    "vnics": ("virtual_machine", "bridged_network"),
    "networks": ("servers",),
    "images": ("repository",),
    "triggers": (),
    "schedules": (),
    "filters": (),
    "webhooks": (),
}

ABOVE = {
    "servers": {"serverPools"},
    "serverPools": set(),
    "clusters": {"serverPools"},
    "heartbeatDevices": {"serverPools"},
    "repositories": set(),
    "virtualDisks": {"repositories"},
    "virtualMachines": {"serverPools"},
    "vnics": {"virtualMachines", "serverPools"},
    "networks": set(),
    "images": {"repositories"},
    "triggers": set(),
    "schedules": set(),
    "filters": set(),
    "webhooks": set(),
}


@pytest.mark.parametrize("collection", sorted(kinds()))
def test_stored_relations_are_these(collection: str) -> None:
    """Other lists of members and a pool's cluster are projections of the other side."""
    assert reference_fields(collection) == STORED[collection]


@pytest.mark.parametrize("collection", sorted(kinds()))
def test_lock_tree_is_that_of_the_protocol(collection: str) -> None:
    """Each type has one lock parent, or is a root (P25)."""
    assert ancestor_collections(collection) == ABOVE[collection]


def test_lock_parents_are_stored_relations() -> None:
    """A parent is always found by the object's own field."""
    for collection, field in LOCK_PARENTS.items():
        assert field in reference_fields(collection)
        assert reference_type(descriptor_of(kinds()[collection].message).fields_by_name[field])


def test_references_that_are_not_set_are_left_out() -> None:
    """A server of no pool refers to nothing."""
    assert list(references(server_pb2.Server(name="servers/a"))) == []
    machine = virtual_machine_pb2.VirtualMachine(
        name="virtualMachines/m", server_pool="serverPools/p", server="servers/a"
    )
    assert list(references(machine)) == [("server_pool", "serverPools/p"), ("server", "servers/a")]


@pytest.mark.parametrize(
    ("message", "parent"),
    [
        (server_pb2.Server(name="servers/a", server_pool="serverPools/p"), "serverPools/p"),
        (server_pb2.Server(name="servers/a"), ""),
        (virtual_machine_pb2.VirtualMachine(name="virtualMachines/m", server="servers/a"), ""),
        (virtual_disk_pb2.VirtualDisk(name="virtualDisks/d", repository="repositories/r"), "repositories/r"),
        (vnic_pb2.Vnic(name="vnics/n", virtual_machine="virtualMachines/m"), "virtualMachines/m"),
        (cluster_pb2.Cluster(name="clusters/c", server_pool="serverPools/p"), "serverPools/p"),
        (repository_pb2.Repository(name="repositories/r", server_pool="serverPools/p"), ""),
    ],
)
def test_lock_parent_is_placement_in_the_tree(
    message: server_pb2.Server
    | virtual_machine_pb2.VirtualMachine
    | virtual_disk_pb2.VirtualDisk
    | vnic_pb2.Vnic
    | cluster_pb2.Cluster
    | repository_pb2.Repository,
    parent: str,
) -> None:
    """The server that a machine runs on, and the pool that a repository is presented to, are not above it."""
    assert lock_parent(message) == parent
