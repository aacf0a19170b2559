"""What every operation that presents repositories plans: a server gets one, loses one, or catches up with all.

To catch up it is put right by the records: with the repositories of its pool, and with the networks that it carries.

A server that could not be reached when its turn came is *behind*: its `desired_revision` is above its
`applied_revision`, and it does nothing for machines until an operation has it catch up (P16).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from virtyard.api.actions.v1 import attach_repository_pb2, detach_other_repositories_pb2, detach_repository_pb2
from virtyard.api.inventory.v1 import network_pb2, repository_pb2, server_pb2, write_objects_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import JobBuilder, PlanBuilder, update
from virtyard.kernel.view import View
from virtyard.operations.hosts import is_behind
from virtyard.operations.networks import carried_by, plan_bridges, plan_other_bridges


def plan_attach(job: JobBuilder, repository: repository_pb2.Repository, server: str) -> None:
    """Plan the step by which a server gets a repository; what it has already stays as it is."""
    job.step(f"Attach {repository.name}", server, _attach(repository), undo=_detach(repository), target=server)


def plan_detach(job: JobBuilder, repository: repository_pb2.Repository, server: str) -> None:
    """Plan the step by which a server gives a repository up."""
    job.step(f"Detach {repository.name}", server, _detach(repository), undo=_attach(repository), target=server)


def plan_record(
    job: JobBuilder, repository: repository_pb2.Repository, servers: Iterable[str], *, after_children: bool = False
) -> None:
    """Plan the write of the servers that a repository is presented to; it must be locked."""
    changed = repository_pb2.Repository(name=repository.name, servers=sorted(servers))
    title = f"Record the servers of {repository.name}"
    job.write(title, update(changed, "servers"), target=repository.name, after_children=after_children)


def plan_leftovers(
    job: JobBuilder, server: str, kept: Iterable[repository_pb2.Repository] = (), *, address: str = ""
) -> None:
    """Plan the step by which a server gives up all repositories but these.

    It needs no list of them, so it takes off those that were deleted, or whose pool the server left, while it was away.

    Args:
        job: a job that has the server locked.
        server: the server.
        kept: every repository that is presented to it.
        address: where its agent is, if the inventory does not know that yet.
    """
    others = detach_other_repositories_pb2.DetachOtherRepositories(repository_uids=[each.uid for each in kept])
    job.step("Detach what it should not have", server, others, undo=others, target=server, address=address)


def plan_putting_right(
    job: JobBuilder,
    server: str,
    repositories: Iterable[repository_pb2.Repository],
    networks: Sequence[network_pb2.Network],
) -> None:
    """Plan the steps by which a server gives up all that no record names, and gets the bridges that it lacks.

    Whatever a server gets or loses is done under its own lock, so that the records stand while it is put right.

    Args:
        job: a job that has the server locked.
        server: the server.
        repositories: every repository that is presented to it.
        networks: every network that it carries.
    """
    plan_leftovers(job, server, repositories)
    plan_other_bridges(job, server, networks)
    plan_bridges(job, server, networks)


def plan_catching_up(
    builder: PlanBuilder,
    job: JobBuilder,
    server: server_pb2.Server,
    repositories: Sequence[repository_pb2.Repository],
    networks: Sequence[network_pb2.Network],
) -> None:
    """Plan what makes up for changes that a server has missed: it gives up what it should not have, and gets the rest.

    Args:
        builder: the plan.
        job: a job that has the server locked.
        server: the server, which is behind.
        repositories: those of its pool, with the servers that they are to have.
        networks: every network that it carries.
    """
    for repository in repositories:
        # IS keeps the list of its servers as it was read, and the repository there, while disks come and go in it.
        builder.lock(repository.name, LockMode.IS)
    wanted = [repository for repository in repositories if server.name in repository.servers]
    plan_putting_right(job, server.name, wanted, networks)
    for repository in wanted:
        plan_attach(job, repository, server.name)
    job.write("Record that it is up to date", caught_up(server))


def caught_up(server: server_pb2.Server) -> write_objects_pb2.ObjectWrite:
    """Return the write by which a server is behind no more."""
    level = server_pb2.Server(name=server.name, applied_revision=server.desired_revision)
    return update(level, "applied_revision")


def missed_one(server: server_pb2.Server) -> write_objects_pb2.ObjectWrite:
    """Return the write by which a server is behind by one change more."""
    behind = server_pb2.Server(name=server.name, desired_revision=server.desired_revision + 1)
    return update(behind, "desired_revision")


def plan_child(
    builder: PlanBuilder,
    parent: JobBuilder,
    title: str,
    server: server_pb2.Server,
    repository: repository_pb2.Repository,
    others: Sequence[repository_pb2.Repository],
    view: View,
) -> None:
    """Plan the child that gives one server a repository, or takes it off, and is put off if it cannot be reached.

    Args:
        builder: the plan.
        parent: the job that it is a child of.
        title: its title.
        server: the server.
        repository: the repository with the servers that it is to have.
        others: the other repositories of the pool, which a server that is behind catches up with at once.
        view: what was read, with the networks that the server carries, which it catches up with too.
    """
    child = builder.job(title, server.name, parent=parent)
    if is_behind(server):
        plan_catching_up(builder, child, server, [repository, *others], carried_by(view, server.name))
    elif server.name in repository.servers:
        plan_attach(child, repository, server.name)
    else:
        plan_detach(child, repository, server.name)
    child.if_deferred("Note that it is behind", missed_one(server))


def chosen_servers(
    names: Sequence[str], view: View, repository: repository_pb2.Repository, *, presented: bool
) -> list[server_pb2.Server]:
    """Return the servers that a request names, each once, and each in the repository's pool.

    Args:
        names: the request's field `servers`.
        view: what was read.
        repository: the repository.
        presented: whether it must be presented to each of them.

    Raises:
        NotFound: one does not exist.
        InvalidRequest: one is named twice, is in another pool, or does not have the repository.
    """
    found: list[server_pb2.Server] = []
    for index, name in enumerate(names):
        field = f"servers[{index}]"
        server = view.get(name, server_pb2.Server, field=field)
        if server in found:
            raise InvalidRequest.of(field, f"{name} is named twice; name each server once")
        if presented and name not in repository.servers:
            allowed = ", ".join(repository.servers) or "none, as it is presented to no server"
            raise InvalidRequest.of(field, f"{repository.name} is not presented to {name}; allowed are {allowed}")
        if not presented and server.server_pool != repository.server_pool:
            where = f"is in {server.server_pool}" if server.server_pool else "is in no pool"
            raise InvalidRequest.of(field, f"{name} {where}; a server of {repository.server_pool} is needed")
        found.append(server)
    return found


def _attach(repository: repository_pb2.Repository) -> attach_repository_pb2.AttachRepository:
    return attach_repository_pb2.AttachRepository(
        repository=repository.name, repository_path=repository.path, repository_uid=repository.uid
    )


def _detach(repository: repository_pb2.Repository) -> detach_repository_pb2.DetachRepository:
    return detach_repository_pb2.DetachRepository(repository_uid=repository.uid)
