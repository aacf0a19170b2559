"""Stories of operations that do not simply succeed: they fail, are aborted, held, broken, planned again, or give way.

Each is told on a site with the machine `base`, which is stopped, and leaves it so. Between them they have every
transition that belongs to an operation; `tests/unit/test_transitions.py` names the few that do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.acceptance.asking import FAILED, LIMIT, SUCCEEDED, create_machine, new_disk, run, start_machine
from tests.faults.scene import Scene
from tests.integration.crash.stage import FEW
from virtyard.api.inventory.v1 import filter_pb2, inventory_service_pb2
from virtyard.api.jobs.v1 import job_control_pb2, job_service_pb2, lock_control_service_pb2, operation_pb2
from virtyard.api.operations.v1 import (
    create_filter_pb2,
    delete_filter_pb2,
    delete_virtual_machine_pb2,
    kill_virtual_machine_pb2,
    present_repository_pb2,
    rename_virtual_machine_pb2,
    stop_virtual_machine_pb2,
    unpresent_repository_pb2,
)
from virtyard.api.type.v1 import submission_pb2
from virtyard.kernel.names import id_of
from virtyard_client.errors import ClientError

BASE, NEW = "virtualMachines/base", "virtualMachines/new"
CANCELLED = operation_pb2.OPERATION_STATE_CANCELLED
PARTIAL = operation_pb2.OPERATION_STATE_PARTIAL
_WHY = "for a test"
_SHARED, _AWAY = "repositories/shared", "servers/s2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A story, and what is always in it."""

    tell: Callable[[Scene], Awaitable[None]]
    """Tells it; calls `Scene.begin` at the moment from which transitions count."""
    shows: frozenset[str]
    """The transitions that come each time it is told; others may, as with a second look at what came late."""
    few: int = FEW
    """How many of its points CI tries."""


async def fail(scene: Scene) -> None:
    """Tell of a step that is refused after another has acted on a host: all of it is undone."""
    scene.site.fail_file.write_text("4/1")
    scene.begin()
    await scene.ended(await scene.submit(_create(scene)), FAILED)


async def go_on_without(scene: Scene) -> None:
    """Tell of a job that is given up, as the others are to go on: the machine is made without its disk."""
    scene.site.fail_file.write_text("3/1")
    request = _create(scene)
    request.options.on_failure = submission_pb2.ON_FAILURE_CONTINUE
    scene.begin()
    await scene.ended(await scene.submit(request), PARTIAL)
    scene.site.fail_file.unlink()
    await _delete_new(scene)


async def abort(scene: Scene) -> None:
    """Tell of an abort while a host is inside a step: it is settled there, and all is undone."""
    name = await scene.begin_and_stand(_create(scene))
    scene.begin()
    request = job_service_pb2.AbortJobRequest(name=_job(name), reason=_WHY)
    await scene.insist(lambda: scene.client.jobs.AbortJob(request))
    scene.go_on()
    await scene.ended(name, CANCELLED)


async def abort_job(scene: Scene) -> None:
    """Tell of a disk that is aborted while a host is inside it: the machine is made without it, the rest goes on."""
    request = create_machine(scene.site, "new", [new_disk(4)], cards=1)
    request.options.on_failure = submission_pb2.ON_FAILURE_CONTINUE
    name = await scene.begin_and_stand(request)
    scene.begin()
    disk = job_service_pb2.AbortJobRequest(name=f"jobs/{name.partition('/')[2]}-3", reason=_WHY)
    await scene.insist(lambda: scene.client.jobs.AbortJob(disk))
    scene.go_on()
    await scene.ended(name, PARTIAL)
    await _delete_new(scene)


async def hold(scene: Scene) -> None:
    """Tell of an operation that is set aside inside a step, and let go on once the step's result is durable."""
    name = await scene.begin_and_stand(_create(scene))
    scene.begin()
    held = job_control_pb2.HoldJobRequest(name=_job(name), reason=_WHY)
    await scene.insist(lambda: scene.client.jobs.HoldJob(held))
    scene.go_on()
    await scene.wait_told("agent.A2")
    released = job_control_pb2.ReleaseJobRequest(name=_job(name), reason=_WHY)
    await scene.insist(lambda: scene.client.jobs.ReleaseJob(released))
    await scene.ended(name, SUCCEEDED)
    await _delete_new(scene)


async def queue(scene: Scene) -> None:
    """Tell of an operation that waits, is moved in the queue, and is planned again as what it waited for changed."""
    first = await scene.begin_and_stand(start_machine("base"))
    scene.begin()
    rename = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name=BASE, display_name=f"Base {first}")
    second = await scene.submit(rename)
    await scene.wait_told("locks.L0")
    moved = job_control_pb2.SetJobPriorityRequest(name=_job(second), priority=5, reason=_WHY)
    await scene.insist(lambda: scene.client.jobs.SetJobPriority(moved))
    await scene.wait_told("locks.rank")
    scene.go_on()
    await scene.ended(first, SUCCEEDED)
    await scene.ended(second, SUCCEEDED)
    await scene.close()
    await run(scene.client, _kill())


async def give_way(scene: Scene) -> None:
    """Tell of a stop that makes way for a kill while a host is inside it."""
    await run(scene.client, start_machine("base"))
    stop = stop_virtual_machine_pb2.StopVirtualMachineRequest(name=BASE)
    first = await scene.begin_and_stand(stop)
    scene.begin()
    second = await scene.submit(_kill())
    await scene.wait_told("jobs.superseded")
    scene.go_on()
    await scene.ended(first, CANCELLED)
    await scene.ended(second, SUCCEEDED)


async def break_locks(scene: Scene) -> None:
    """Tell of locks that are broken while a host is inside a step: freed once that is settled, retaken for the undo."""
    name = await scene.begin_and_stand(_create(scene))
    scene.begin()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_break(scene, name, force=False))
        await scene.wait_told("jobs.breaking")
        scene.go_on()
    await scene.ended(name, CANCELLED)


async def force_break(scene: Scene) -> None:
    """Tell of locks that somebody insists on while a host is silent inside a step, and of its return."""
    name = await scene.begin_and_stand(_create(scene))
    scene.begin()
    await _break(scene, name, force=True)
    await scene.wait_told("jobs.forced")
    scene.go_on()
    await scene.ended(name, CANCELLED)


async def accept_residue(scene: Scene) -> None:
    """Tell of an undo that is refused for good, tried again by a person, refused again, and accepted as residue."""
    scene.site.fail_file.write_text("2/1\n1/1 undo")
    scene.begin()
    name = await scene.submit(_create(scene))
    retry = job_service_pb2.RetryJobRequest(name=await scene.stuck_job(name))
    await scene.insist(lambda: scene.client.jobs.RetryJob(retry))
    await scene.wait_told("jobs.stuck", 2)
    accept = job_service_pb2.AcceptJobRequest(name=await scene.stuck_job(name))
    await scene.insist(lambda: scene.client.jobs.AcceptJob(accept))
    await scene.ended(name, FAILED)
    scene.site.fail_file.unlink()
    await _delete_new(scene)


async def lose_host(scene: Scene) -> None:
    """Tell of a host that dies inside a step: what it had begun counts as not done, and is tried again."""
    name = await scene.begin_and_stand(_create(scene))
    scene.kill_standing()
    scene.begin()
    await scene.ended(name, SUCCEEDED)
    await _delete_new(scene)


async def filter_out(scene: Scene) -> None:
    """Tell of a filter that keeps an operation back, and is deleted."""
    calm = filter_pb2.Filter(matches="type = CreateVirtualMachine", action=filter_pb2.FILTER_ACTION_PAUSE)
    await run(scene.client, create_filter_pb2.CreateFilterRequest(filter_id="calm", filter=calm))
    scene.begin()
    name = await scene.submit(_create(scene))
    await scene.wait_told("jobs.held_by_filter")
    deletion = await scene.submit(delete_filter_pb2.DeleteFilterRequest(name="filters/calm"))
    await scene.ended(deletion, SUCCEEDED)
    await scene.ended(name, SUCCEEDED)
    await _delete_new(scene)


async def defer(scene: Scene) -> None:
    """Tell of a member that is away while a repository is presented to it, is put off, and catches up on its return."""
    away = unpresent_repository_pb2.UnpresentRepositoryRequest(name=_SHARED, servers=[_AWAY])
    await run(scene.client, away)
    await scene.wait_unlocked()
    with scene.site.paused(id_of(_AWAY)):
        scene.begin()
        present = present_repository_pb2.PresentRepositoryRequest(name=_SHARED, servers=[_AWAY])
        await scene.ended(await scene.submit(present), PARTIAL)
    async with asyncio.timeout(LIMIT):
        while not await _has_caught_up(scene):
            await asyncio.sleep(0.05)


async def _has_caught_up(scene: Scene) -> bool:
    try:
        server = await scene.client.inventory.GetServer(inventory_service_pb2.GetServerRequest(name=_AWAY))
    except ClientError as error:
        if not error.unreachable:
            raise
        return False
    return bool(0 < server.desired_revision == server.applied_revision)


def _job(operation: str) -> str:
    return f"jobs/{operation.partition('/')[2]}-1"


def _create(scene: Scene) -> Any:
    return create_machine(scene.site, "new", [new_disk(4)])


def _kill() -> Any:
    return kill_virtual_machine_pb2.KillVirtualMachineRequest(name=BASE)


async def _delete_new(scene: Scene) -> None:
    await scene.close()
    await run(scene.client, delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=NEW))


async def _break(scene: Scene, name: str, *, force: bool) -> None:
    request = lock_control_service_pb2.BreakLockRequest(target=name, reason=_WHY, force=force)
    await scene.insist(lambda: scene.locks.BreakLock(request))


_PLAIN = frozenset({"jobs.C1", "jobs.C2", "jobs.Ct", "inventory.I", "locks.L1", "locks.L2"})
_AGENT = frozenset({"agent.A1", "agent.acted", "agent.A2"})

STORIES: Mapping[str, Story] = {
    "a step fails": Story(tell=fail, shows=_PLAIN | _AGENT | {"jobs.Ck", "jobs.Cf", "jobs.Cu"}),
    "a job is given up": Story(tell=go_on_without, shows=_PLAIN | {"jobs.given_up"}),
    "it is aborted": Story(tell=abort, shows=frozenset({"jobs.abort", "jobs.settled", "agent.settled", "jobs.Cf"})),
    "a job of it is aborted": Story(tell=abort_job, shows=frozenset({"jobs.abort", "agent.settled", "jobs.Ck"})),
    "it is held": Story(tell=hold, shows=frozenset({"jobs.held", "jobs.released"})),
    "it is planned again": Story(
        tell=queue, shows=frozenset({"jobs.priority", "locks.L0", "locks.rank", "locks.again", "jobs.replan"})
    ),
    "it gives way": Story(tell=give_way, shows=frozenset({"jobs.superseded", "jobs.takes_over"})),
    "its locks are broken": Story(tell=break_locks, shows=frozenset({"jobs.breaking", "jobs.freed", "jobs.retaken"})),
    "its locks are forced": Story(tell=force_break, shows=frozenset({"jobs.breaking", "jobs.forced", "jobs.freed"})),
    # An undo is refused for good after some 12 s.
    "residue is accepted": Story(
        tell=accept_residue, shows=frozenset({"jobs.stuck", "jobs.unstuck", "jobs.accepted"}), few=1
    ),
    # Whether a member answers is waited for some seconds.
    "a member is away": Story(tell=defer, shows=_PLAIN | _AGENT, few=1),
    "a host is lost": Story(tell=lose_host, shows=frozenset({"agent.start", "jobs.retry"})),
    "a filter keeps it back": Story(tell=filter_out, shows=frozenset({"jobs.held_by_filter", "jobs.passed_filter"})),
}
"""The stories by what happens in them."""
