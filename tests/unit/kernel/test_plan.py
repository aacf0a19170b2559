"""The builder: what a planner says and what the plan then has."""

from __future__ import annotations

import uuid

import pytest

from virtyard.api.actions.v1 import claim_host_pb2, release_host_pb2
from virtyard.api.inventory.v1 import server_pb2, server_pool_pb2, virtual_machine_pb2, write_objects_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.kernel.errors import InternalError, NotFound
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import wrap
from virtyard.kernel.plan import Ids, JobBuilder, PlanBuilder, delete, pack, update
from virtyard.kernel.view import View, select

POOL = server_pool_pb2.ServerPool(name="serverPools/p", uid="1", generation=4)
SERVER = server_pb2.Server(name="servers/a", uid="2", generation=5, server_pool="serverPools/p")
MACHINE = virtual_machine_pb2.VirtualMachine(name="virtualMachines/m", uid="3", server_pool="serverPools/p")


def view() -> View:
    """Return a view of a pool with a server and a machine."""
    return View(map(wrap, (POOL, SERVER, MACHINE)), [select("virtualMachines/m", "server_pool")], sequence=9)


def finish(builder: PlanBuilder) -> plan_pb2.Plan:
    """Return the plan, every job of which has a step."""
    for planned in builder._plan.jobs:
        JobBuilder(planned).write("Do", delete(planned.object))
    return builder.build()


def locks(plan: plan_pb2.Plan) -> dict[str, tuple[str, str]]:
    """Return mode and first job of every lock."""
    return {lock.object: (LockMode(lock.mode).name, lock.job) for lock in plan.locks}


def test_jobs_follow_each_other_and_children_run_together() -> None:
    """Unless the planner says otherwise."""
    builder = PlanBuilder(view())
    first = builder.job("One", "serverPools/p")
    parent = builder.job("Two", "serverPools/p")
    builder.job("Two a", "servers/a", parent=parent)
    builder.job("Two b", "servers/a", parent=parent)
    builder.job("Three", "serverPools/p")
    beside = builder.job("Beside", "serverPools/p", after=[first])
    builder.job("Alone", "serverPools/p", after=[])
    plan = finish(builder)
    found = {job.title: (list(job.after), job.parent) for job in plan.jobs}
    assert found == {
        "One": ([], ""),
        "Two": (["1"], ""),
        "Two a": ([], "2"),
        "Two b": ([], "2"),
        "Three": (["2"], ""),
        "Beside": (["1"], ""),
        "Alone": ([], ""),
    }
    assert beside.id == "6"


def test_job_locks_its_object_and_intends_above() -> None:
    """X on what it changes, IX on every ancestor; a second use strengthens the lock and keeps the first job."""
    builder = PlanBuilder(view())
    builder.job("One", "virtualMachines/m")
    builder.lock("servers/a", LockMode.S)
    builder.job("Two", "serverPools/p")
    assert locks(finish(builder)) == {
        "virtualMachines/m": ("X", "1"),
        "serverPools/p": ("X", "1"),
        "servers/a": ("S", "1"),
    }


def test_shared_and_intended_locks_add_up() -> None:
    """IX and S on one object are SIX."""
    builder = PlanBuilder(view())
    builder.job("One", "virtualMachines/m")
    builder.lock("serverPools/p", LockMode.S)
    assert locks(finish(builder))["serverPools/p"] == ("SIX", "1")


def test_new_object_is_locked_below_its_parent_to_be() -> None:
    """The whole line above the parent gets the intention."""
    builder = PlanBuilder(view())
    builder.job("Plug", "vnics/n")
    builder.lock("vnics/n", LockMode.X, parent="virtualMachines/m")
    assert {name: mode for name, (mode, _) in locks(finish(builder)).items()} == {
        "vnics/n": "X",
        "virtualMachines/m": "IX",
        "serverPools/p": "IX",
    }


def test_moved_object_is_locked_below_both_parents() -> None:
    """X on it and IX on where it was and where it goes (P25)."""
    builder = PlanBuilder(view())
    builder.job("Move", "servers/a")
    builder.lock("servers/a", LockMode.X, parent="serverPools/q")
    assert {name: mode for name, (mode, _) in locks(finish(builder)).items()} == {
        "servers/a": "X",
        "serverPools/p": "IX",
        "serverPools/q": "IX",
    }


def test_plan_has_what_was_read_and_who_is_touched() -> None:
    """The read set, the position of the feed, the servers and the result."""
    builder = PlanBuilder(view())
    job = builder.job("Claim", "servers/a")
    undo = release_host_pb2.ReleaseHost()
    for server in ("servers/b", "servers/a"):
        job.step("Claim", server, claim_host_pb2.ClaimHost(), undo=undo, address="h:1", weight=4)
    job.write("Record", update(SERVER, "state"))
    plan = builder.build("servers/a")
    assert list(plan.servers) == ["servers/a", "servers/b"]
    assert (plan.result_object, plan.inventory_sequence) == ("servers/a", 9)
    assert plan.read_set == view().requirement()
    step = plan.jobs[0].steps[0]
    assert (step.id, step.participant_address, step.weight, step.target) == ("1", "h:1", 4, "servers/a")


def test_write_takes_objects_writes_and_reservations() -> None:
    """Each comes into its own list, in order; the undo puts back, the pivot and what follows it have none."""
    builder = PlanBuilder(view())
    job = builder.job("Change", "serverPools/p")
    reservation = write_objects_pb2.MemoryReservation(server="servers/a", memory_bytes=5)
    job.write("Do", server_pb2.Server(name="servers/n"), delete("servers/a"), reservation, update(POOL, "state"))
    job.write("Cut", delete("serverPools/p"), pivot=True)
    job.write("Go on", delete("servers/n"), target="servers/n", forward=True)
    steps = builder.build().jobs[0].steps
    effect = write_objects_pb2.WriteObjects()
    steps[0].do.Unpack(effect)
    assert [write.WhichOneof("write") for write in effect.writes] == ["create", "delete", "update"]
    assert list(effect.memory_reservations) == [reservation]
    assert steps[0].undo.Is(write_objects_pb2.RevertWrites.DESCRIPTOR)
    assert [step.HasField("undo") for step in steps] == [True, False, False]
    assert [step.kind for step in steps] == [
        plan_pb2.STEP_KIND_UNDOABLE,
        plan_pb2.STEP_KIND_PIVOT,
        plan_pb2.STEP_KIND_FORWARD,
    ]
    assert steps[2].target == "servers/n"


def test_plan_that_breaks_a_rule_is_not_built() -> None:
    """The rules are in their own module; the builder applies them."""
    builder = PlanBuilder(view())
    builder.job("Cut", "servers/a").write("Forward without a pivot", delete("servers/a"), forward=True)
    with pytest.raises(InternalError):
        builder.build()


def test_ids_are_the_same_however_often_a_plan_is_made() -> None:
    """One seed and one label give one uid; other seeds and labels give others (P4)."""
    seed = uuid.UUID(int=1)
    assert Ids(seed).uid("servers/a") == Ids(seed).uid("servers/a")
    assert len({Ids(seed).uid("a"), Ids(seed).uid("b"), Ids(uuid.UUID(int=2)).uid("a")}) == 3
    assert len(Ids(seed).uid("a")) == 32


def test_update_copies_and_delete_knows_kinds() -> None:
    """A later change of the object does not reach the plan; a name of no kind is refused."""
    server = server_pb2.Server(name="servers/a", display_name="then")
    write = update(server, "display_name", "labels")
    server.display_name = "later"
    assert write.update.object.server.display_name == "then"
    assert list(write.update.update_mask.paths) == ["display_name", "labels"]
    with pytest.raises(NotFound):
        delete("people/ann")


def test_packed_message_names_its_type() -> None:
    """By its full name."""
    assert pack(SERVER).TypeName() == "virtyard.api.inventory.v1.Server"
