"""Which server does a piece of work: chosen when planned, from the view, never by a step under locks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from virtyard.api.inventory.v1 import network_pb2, repository_pb2, server_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.kernel.errors import CapacityExhausted, FieldViolation, WrongState
from virtyard.kernel.names import id_of
from virtyard.kernel.view import View
from virtyard.operations.networks import missing_network
from virtyard.operations.refusals import state_word, wrong_state

MIB = 1 << 20


def online(servers: Sequence[server_pb2.Server]) -> list[server_pb2.Server]:
    """Return the servers whose agents report."""
    return [server for server in servers if server.state == server_pb2.SERVER_STATE_ONLINE]


def is_behind(server: server_pb2.Server) -> bool:
    """Tell whether a server has missed changes while it could not be reached; until it caught up it runs no machine."""
    return server.applied_revision < server.desired_revision


def copy_on(server: str, field: str) -> plan_pb2.CountedLock:
    """Return what a copy of disk content takes on a server; `field` of the request led to it."""
    return plan_pb2.CountedLock(name=f"capacity/{server}/copy", count=1, field=field)


def servers_of(view: View, repository: repository_pb2.Repository) -> list[server_pb2.Server]:
    """Return the servers that a repository is presented to, of those that were read.

    One that has lost its storage is left out, unless all have: the host itself then says what it lacks.
    """
    found = [server for server in view.of(server_pb2.Server) if server.name in repository.servers]
    return [server for server in found if server.name not in repository.lost_servers] or found


def storage_server(servers: Sequence[server_pb2.Server], key: str, what: str, field: str = "name") -> server_pb2.Server:
    """Return the server that does storage work for a key: the same for the same servers, spread over them.

    Args:
        servers: the servers that reach the storage, as `servers_of` gives them for a repository.
        key: what the work is for, a uid.
        what: the object that is to be worked on, for the refusal.
        field: the request's field that led to it, for the refusal.

    Raises:
        WrongState: none of them is online and up to date; each is named with its reason.
    """
    candidates = [server for server in servers if not _unable(server)]
    if not candidates:
        states = ", ".join(f"{server.name} {_unable(server)}" for server in servers) or "it has no servers"
        raise wrong_state(field, what, f"no server that reaches {what} is online and up to date: {states}")
    return max(candidates, key=lambda server: hashlib.sha256(f"{key} {server.uid}".encode()).digest())


def best_server(
    servers: Sequence[server_pb2.Server],
    memory_bytes: int,
    networks: Sequence[network_pb2.Network],
    repositories: Sequence[repository_pb2.Repository],
    machine: str,
    field: str,
) -> server_pb2.Server:
    """Return the online server with the most free memory, the first by name where several have as much.

    Args:
        servers: the servers that may run the machine.
        memory_bytes: what the machine needs, in bytes.
        networks: the networks that its cards are plugged into.
        repositories: the repositories that hold its disks.
        machine: the machine's resource name, for the refusal.
        field: the request's field that led to them, for the refusal.

    Raises:
        WrongState: none of them is online; each is named with its reason.
        CapacityExhausted: none that is online has the memory; each is named with its reason.
    """
    reasons = {
        server.name: _unfit(server, memory_bytes)
        or missing_network(server, networks)
        or missing_repository(server, repositories)
        for server in servers
    }
    fit = [server for server in servers if not reasons[server.name]]
    if fit:
        return min(fit, key=lambda server: (-free_memory(server), server.name))
    told = "; ".join(f"{name} {reason}" for name, reason in sorted(reasons.items())) or "its pool has no servers"
    description = f"no server can run {machine}: {told}"
    refusal = CapacityExhausted if online(servers) else WrongState
    raise refusal(
        f"{field}: {description}",
        resource=machine,
        violations=(FieldViolation(field=field, description=description),),
        metadata={"field": field, **reasons},
    )


def free_memory(server: server_pb2.Server) -> int:
    """Return the memory that no machine has reserved on a server, in bytes."""
    return server.observed.memory_bytes - server.reserved_memory_bytes


def missing_repository(server: server_pb2.Server, repositories: Sequence[repository_pb2.Repository]) -> str:
    """Return why a server cannot run a machine with disks in these repositories; empty if it can."""
    missing = [id_of(repository.name) for repository in repositories if server.name not in repository.servers]
    lost = [id_of(repository.name) for repository in repositories if server.name in repository.lost_servers]
    if missing:
        return f"does not have {', '.join(missing)} presented to it"
    return f"has lost the storage of {', '.join(lost)}" if lost else ""


def _unable(server: server_pb2.Server) -> str:
    """Return why a server can be given no work; empty if it can."""
    if server.state != server_pb2.SERVER_STATE_ONLINE:
        return f"is {state_word(server)}"
    if is_behind(server):
        missed = server.desired_revision - server.applied_revision
        return f"is {missed} change{'' if missed == 1 else 's'} behind and must be refreshed first"
    return ""


def _unfit(server: server_pb2.Server, memory_bytes: int) -> str:
    """Return why a server cannot run a machine that needs this much; empty if it can."""
    if unable := _unable(server):
        return unable
    if free_memory(server) < memory_bytes:
        return f"has {max(free_memory(server), 0) // MIB} MiB free, {memory_bytes // MIB} MiB are needed"
    return ""
