"""Capacity: what is taken of a server's memory or a repository's space, checked in the transaction that takes it (P4).

It is not a lock: operations that hold IX beside each other are decided by the sum that each of them finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from virtyard.api.inventory.v1 import repository_pb2, write_objects_pb2
from virtyard.inventory.model import Reader
from virtyard.inventory.objects import read_row
from virtyard.inventory.observations import read_observation
from virtyard.kernel.errors import CapacityExhausted, NotFound
from virtyard.kernel.names import collection_of

__all__ = ["check_memory", "check_space"]

_TOTAL = "SELECT amount FROM total WHERE target = ? AND kind = ? AND field = ?"


def check_memory(reader: Reader, reservations: Iterable[write_objects_pb2.MemoryReservation]) -> None:
    """Check that the machines placed on each server, the new one included, fit into its memory.

    Raises:
        NotFound: the server does not exist.
        CapacityExhausted: they do not fit.
    """
    for reservation in reservations:
        server = reservation.server
        row = read_row(reader, server)
        if row is None or row.deleted:
            raise NotFound(f"server {server} does not exist", resource=server)
        observation = read_observation(reader, server)
        capacity = observation.observed.memory_bytes if observation is not None else 0
        taken = _total(reader, server, "virtualMachines", "server")
        if taken > capacity:
            free = max(capacity - taken + reservation.memory_bytes, 0)
            raise _exhausted(server, "memory", asked=reservation.memory_bytes, free=free, capacity=capacity)


def check_space(reader: Reader, filled: Mapping[str, int]) -> None:
    """Check that disks and images of each repository that was filled up fit into it; a capacity of 0 sets no limit.

    Args:
        reader: the transaction.
        filled: how much more is taken of each target than before, in bytes.

    Raises:
        CapacityExhausted: they do not fit.
    """
    for name, asked in filled.items():
        if collection_of(name) != "repositories":
            continue
        row = read_row(reader, name)
        if row is None or row.deleted:
            continue
        capacity = repository_pb2.Repository.FromString(row.body).capacity_bytes
        taken = sum(_total(reader, name, kind, "repository") for kind in ("virtualDisks", "images"))
        if capacity and taken > capacity:
            free = max(capacity - taken + asked, 0)
            raise _exhausted(name, "space", asked=asked, free=free, capacity=capacity)


def _total(reader: Reader, target: str, kind: str, field: str) -> int:
    found = reader.execute(_TOTAL, (target, kind, field)).fetchone()
    return int(found[0]) if found is not None else 0


def _exhausted(name: str, what: str, *, asked: int, free: int, capacity: int) -> CapacityExhausted:
    return CapacityExhausted(
        f"{name} has {free} of {capacity} bytes of {what} free, and {asked} bytes are asked for",
        resource=name,
        metadata={"capacity_bytes": str(capacity), "free_bytes": str(free), "asked_bytes": str(asked)},
    )
