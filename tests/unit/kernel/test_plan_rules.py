"""The rules of plans: order, pivot, bindings and cover, each shown by a plan that breaks it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtyard.api.actions.v1 import claim_host_pb2, release_host_pb2
from virtyard.api.inventory.v1 import server_pb2, write_objects_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel.errors import InternalError
from virtyard.kernel.names import wrap
from virtyard.kernel.plan import pack
from virtyard.kernel.plan_rules import Order, check_plan, result_type

U, P, F = plan_pb2.STEP_KIND_UNDOABLE, plan_pb2.STEP_KIND_PIVOT, plan_pb2.STEP_KIND_FORWARD
LETTERS = {"u": U, "p": P, "f": F}


def job(name: str, steps: str = "", *, parent: str = "", after: tuple[str, ...] = ()) -> plan_pb2.PlannedJob:
    """Return a job with a step for each letter: `u|pf` is undoable, and late a pivot and a forward one."""
    planned = plan_pb2.PlannedJob(id=name, title=f"Job {name}", object="servers/a", parent=parent, after=after)
    first, _, last = steps.partition("|")
    for letter, late in [*((letter, False) for letter in first), *((letter, True) for letter in last)]:
        kind = LETTERS[letter]
        step = planned.steps.add(
            id=str(len(planned.steps) + 1), target="servers/a", kind=kind, after_children=late, participant="inventory"
        )
        step.do.Pack(claim_host_pb2.ClaimHost())
        if kind == U:
            step.undo.Pack(release_host_pb2.ReleaseHost())
    return planned


def plan(*jobs: plan_pb2.PlannedJob) -> plan_pb2.Plan:
    """Return a plan that holds the one lock that its steps need."""
    locks = [plan_pb2.PlannedLock(object="servers/a", mode=lock_pb2.LOCK_MODE_X)]
    return plan_pb2.Plan(jobs=jobs, locks=locks)


@pytest.mark.parametrize(
    "jobs",
    [
        [],
        [job("1", "u")],
        [job("1", "p")],
        [job("1", "uupff")],
        [job("1", "uu"), job("2", "up", after=("1",)), job("3", "ff", after=("2",))],
        [job("1", "u"), job("2", "u")],
        [job("1", "u|u"), job("2", "u", parent="1"), job("3", "u", parent="1")],
        [job("1", "u|pf"), job("2", "u", parent="1"), job("3", "u", parent="1")],
        [job("1", "u|pf"), job("2", "u|u", parent="1"), job("3", "u", parent="2")],
        [job("1", "|p"), job("2", "u", parent="1"), job("3", "f", after=("1",))],
        [
            job("1", "p"),
            job("2", "|f", after=("1",)),
            job("3", "f", parent="2"),
            job("4", "f", parent="2", after=("3",)),
        ],
        [job("1", ""), job("2", "u", parent="1"), job("3", "p", after=("1",))],
    ],
)
def test_plan_in_the_order_of_p6_is_taken(jobs: list[plan_pb2.PlannedJob]) -> None:
    """A parent's late steps come after its children's, though the list has them before."""
    check_plan(plan(*jobs))


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        ([job("1", "f")], "a pivot must come before it"),
        ([job("1", "pu")], "come before the pivot"),
        ([job("1", "pp")], "at most one pivot"),
        ([job("1", "p"), job("2", "u", after=("1",))], "come before the pivot"),
        ([job("1", "u"), job("2", "p")], "step 1/1 must have an undo and come before the pivot"),
        ([job("1", "p"), job("2", "f")], "step 2/1 has no undo"),
        ([job("1", "p|"), job("2", "u", parent="1")], "step 2/1 must have an undo and come before the pivot"),
        ([job("1", "u|p"), job("2", "f", parent="1")], "step 2/1 has no undo"),
        ([job("1", "u|p"), job("2", "u", parent="1"), job("3", "u", after=())], "step 3/1"),
        ([job("1", "", parent="2"), job("2")], "refers to \\['2'\\]"),
        ([job("1", "", after=("2",)), job("2")], "refers to \\['2'\\]"),
        ([job("1", "", after=("1",))], "refers to \\['1'\\]"),
        ([job("1"), job("1")], "is there twice"),
        ([job("1"), job("2", "u")], "job 1 'Job 1' has neither steps nor children"),
        ([job("1"), job("2", parent="1")], "job 2 'Job 2' has neither steps nor children"),
        ([job("1"), job("2", parent="1", after=("1",))], "waits for itself"),
        ([job("1"), job("2", after=("1",)), job("3", parent="1", after=("2",))], "waits for itself"),
    ],
)
def test_plan_out_of_order_is_refused(jobs: list[plan_pb2.PlannedJob], words: str) -> None:
    """Also where two jobs merely could run in the wrong order."""
    with pytest.raises(InternalError, match=words):
        check_plan(plan(*jobs))


def test_first_step_after_a_late_one_is_refused() -> None:
    """A step that does not wait for the children cannot follow one that does."""
    wrong = job("1", "|uu")
    wrong.steps[1].after_children = False
    with pytest.raises(InternalError, match="must come after the children"):
        check_plan(plan(wrong))


@pytest.mark.parametrize("letter", ["p", "f"])
def test_undo_on_a_step_of_no_return_is_refused(letter: str) -> None:
    """What says that it cannot be undone has no undo."""
    wrong = job("1", "pf")
    wrong.steps["pf".index(letter)].undo.Pack(release_host_pb2.ReleaseHost())
    with pytest.raises(InternalError, match="must be of the undoable kind"):
        check_plan(plan(wrong))


def test_undoable_step_without_undo_and_step_without_kind_are_refused() -> None:
    """Nothing is left to be guessed when it fails."""
    wrong = job("1", "u")
    wrong.steps[0].ClearField("undo")
    with pytest.raises(InternalError, match="must have an undo"):
        check_plan(plan(wrong))
    wrong.steps[0].kind = plan_pb2.STEP_KIND_UNSPECIFIED
    with pytest.raises(InternalError, match="has no kind"):
        check_plan(plan(wrong))


@pytest.mark.parametrize("target", ["", "servers/b", "serverPools/p"])
def test_step_that_no_exclusive_lock_covers_is_refused(target: str) -> None:
    """A participant would refuse it later (P2)."""
    wrong = plan(job("1", "u"))
    wrong.jobs[0].steps[0].target = target
    with pytest.raises(InternalError, match="no exclusive lock covers"):
        check_plan(wrong)


@pytest.mark.parametrize(
    ("name", "count"),
    [("capacity/servers/a/copy", 0), ("capacity/a/copy", 1), ("capacity/servers/a/", 1), ("servers/a/copy", 1)],
)
def test_step_that_takes_no_unit_of_a_counted_lock_is_refused(name: str, count: int) -> None:
    """P22: a counted lock is named after its server and what is limited there."""
    made = plan(job("1", "u"))
    made.jobs[0].steps[0].counted.CopyFrom(plan_pb2.CountedLock(name="capacity/servers/a/copy", count=1))
    check_plan(made)
    made.jobs[0].steps[0].counted.CopyFrom(plan_pb2.CountedLock(name=name, count=count))
    with pytest.raises(InternalError, match="it must be at least 1 of capacity/servers/ID/WHAT"):
        check_plan(made)


def bound(field_path: str, step: str, result_path: str) -> plan_pb2.Plan:
    """Return a plan whose second job records a server with one field bound to the claim in the first."""
    made = plan(job("1", "u"), job("2", "u", after=("1",)))
    write = write_objects_pb2.WriteObjects()
    write.writes.add(create=wrap(server_pb2.Server(name="servers/a")))
    made.jobs[1].steps[0].do.CopyFrom(pack(write))
    made.jobs[1].steps[0].bindings.add(field_path=field_path, step=step, result_path=result_path)
    return made


def test_binding_to_an_earlier_result_of_the_same_type_is_taken() -> None:
    """A text to a text, a number to a number."""
    check_plan(bound("writes[0].create.server.host_id", "1/1", "host.host_id"))
    check_plan(bound("writes[0].create.server.observed.memory_bytes", "1/1", "host.memory_bytes"))


@pytest.mark.parametrize(
    ("field_path", "step", "result_path", "words"),
    [
        ("writes[0].create.server.host_id", "2/1", "host.host_id", "does not come before it"),
        ("writes[0].create.server.host_id", "1/2", "host.host_id", "does not come before it"),
        ("writes[0].create.server.host_id", "9/1", "host.host_id", "does not come before it"),
        ("writes[0].create.server.host", "1/1", "host.host_id", "has no field"),
        ("writes[1].create.server.host_id", "1/1", "host.host_id", "no such item"),
        ("writes.create", "1/1", "host.host_id", "takes an index"),
        ("writes[0].create.server.host_id", "1/1", "host.name", "has no field"),
        ("writes[0].create.server.host_id", "1/1", "host.memory_bytes", "of another type"),
        ("writes[0].create.server.host_id", "1/1", "host", "of another type"),
    ],
)
def test_binding_that_does_not_fit_is_refused(field_path: str, step: str, result_path: str, words: str) -> None:
    """Later and unknown steps, fields that are not there, and values of another type."""
    with pytest.raises(InternalError, match=words):
        check_plan(bound(field_path, step, result_path))


def test_result_type_has_the_name_of_the_action() -> None:
    """`ClaimHost` results in `ClaimHostResult`; a message that is no action has no result."""
    assert result_type(pack(claim_host_pb2.ClaimHost())).name == "ClaimHostResult"
    with pytest.raises(InternalError, match="ServerResult"):
        result_type(pack(server_pb2.Server()))


def test_binding_to_what_runs_beside_is_refused() -> None:
    """Two jobs that do not wait for each other have no earlier and later."""
    made = bound("writes[0].create.server.host_id", "1/1", "host.host_id")
    del made.jobs[1].after[:]
    with pytest.raises(InternalError, match="does not come before it"):
        check_plan(made)


def test_order_counts_grandchildren() -> None:
    """A parent is completed only when its children's children are."""
    order = Order(
        plan(job("1", "u|u"), job("2", "u|u", parent="1"), job("3", "u", parent="2"), job("4", "u", after=("1",)))
    )
    chain = ["1/1", "2/1", "3/1", "2/2", "1/2", "4/1"]
    for earlier, first in enumerate(chain):
        for later, second in enumerate(chain):
            assert order.is_before(first, second) is (earlier < later)


def test_sequence_is_an_order_in_which_the_steps_may_be_done() -> None:
    """Children between the early and the late steps of their parent, siblings as the plan lists them."""
    made = plan(job("1", "u|pf"), job("2", "uu", parent="1"), job("3", "u", parent="1"), job("4", "f", after=("1",)))
    assert Order(made).sequence() == ["1/1", "2/1", "3/1", "2/2", "1/2", "1/3", "4/1"]


@given(st.data())
def test_order_is_that_of_any_run(data: st.DataObject) -> None:
    """Whatever plan of jobs and children is run in whatever order is allowed, what is before comes first."""
    jobs: list[plan_pb2.PlannedJob] = []
    for number in range(1, data.draw(st.integers(1, 7)) + 1):
        tops = [item.id for item in jobs if not item.parent]
        parent = data.draw(st.sampled_from(["", *tops]))
        same = [item.id for item in jobs if item.parent == parent]
        after = tuple(data.draw(st.lists(st.sampled_from(same), unique=True))) if same else ()
        jobs.append(
            job(str(number), data.draw(st.sampled_from(["u", "u|u", "|u", "", "uu|u"])), parent=parent, after=after)
        )
    parents = {item.parent for item in jobs}
    made = plan(*(item if item.steps or item.id in parents else _with_step(item) for item in jobs))
    order, done = Order(made), list(_run(made, data))
    for position, reference in enumerate(done):
        assert not any(order.is_before(later, reference) for later in done[position:])
    assert len(done) == sum(len(item.steps) for item in made.jobs)
    listed = order.sequence()
    assert not any(
        order.is_before(listed[first], listed[later]) for first in range(len(listed)) for later in range(first)
    )


def _with_step(item: plan_pb2.PlannedJob) -> plan_pb2.PlannedJob:
    return job(item.id, "u", parent=item.parent, after=tuple(item.after))


def _run(made: plan_pb2.Plan, data: st.DataObject) -> list[str]:
    """Run a plan by the rules for jobs, choosing freely whenever several steps may be next."""
    done: list[str] = []
    jobs = {item.id: item for item in made.jobs}

    def left(item: plan_pb2.PlannedJob, *, late: bool | None = None) -> list[str]:
        steps = [step for step in item.steps if late is None or step.after_children == late]
        return [f"{item.id}/{step.id}" for step in steps if f"{item.id}/{step.id}" not in done]

    def completed(item: plan_pb2.PlannedJob) -> bool:
        return not left(item) and all(completed(child) for child in made.jobs if child.parent == item.id)

    def ready(item: plan_pb2.PlannedJob) -> bool:
        free = not item.parent or (ready(jobs[item.parent]) and not left(jobs[item.parent], late=False))
        return free and all(completed(jobs[name]) for name in item.after)

    while True:
        allowed = []
        for item in filter(ready, made.jobs):
            waiting = [child for child in made.jobs if child.parent == item.id and not completed(child)]
            following = left(item, late=False) or ([] if waiting else left(item, late=True))
            allowed += following[:1]
        if not allowed:
            return done
        done.append(data.draw(st.sampled_from(allowed)))


def member(steps: str = "hu", **fields: Any) -> plan_pb2.PlannedJob:
    """Return a child that may be put off: `h` is a step on a host; the last step is the one for being put off."""
    planned = job("2", "u" * len(steps), parent="1")
    for step, letter in zip(planned.steps, steps, strict=True):
        step.participant = "servers/a" if letter == "h" else "inventory"
        step.kind = LETTERS.get(letter, U)
        if step.kind != U:
            step.ClearField("undo")
    planned.steps[-1].if_deferred = True
    planned.deferrable = True
    planned.MergeFrom(plan_pb2.PlannedJob(**fields))
    return planned


def test_a_child_on_one_server_may_be_put_off() -> None:
    """Its last step is a plain write in place of the others."""
    check_plan(plan(job("1", "u|u"), member()))


def broken_members() -> dict[str, list[plan_pb2.PlannedJob]]:
    """Return plans with a member that could not be put off, by what is wrong with it."""
    elsewhere, twice, not_last, bound, alone, not_said = (member("hhu") for _ in range(6))
    elsewhere.steps[1].participant = "servers/b"
    twice.steps[1].if_deferred = True
    not_last.steps[1].if_deferred, not_last.steps[2].if_deferred = True, False
    bound.steps[2].bindings.add(field_path="owner_id", step="1/1", result_path="host.host_id")
    alone.parent = ""
    not_said.deferrable = False
    for_ever = member("ff")
    for_ever.steps[0].participant = "servers/a"
    user = job("3", "u", after=("1",))
    user.steps[0].bindings.add(field_path="owner_id", step="2/1", result_path="host.host_id")
    return {
        "on two servers": [job("1"), elsewhere],
        "with two steps for it": [job("1"), twice],
        "with a step after it": [job("1"), not_last],
        "noted on a host": [job("1"), member("hh")],
        "on no server": [job("1"), member("uu")],
        "with a result in the note": [job("1", "u"), bound],
        "no child": [job("1", "u"), alone],
        "with a child": [job("1"), member(), job("3", "u", parent="2")],
        "with a note, and not for it": [job("1"), not_said],
        "needed by others": [job("1"), member(), user],
        "that cannot be undone": [job("1", "p|f"), for_ever],
    }


@pytest.mark.parametrize("wrong", sorted(broken_members()))
def test_a_job_that_could_not_be_put_off_is_refused(wrong: str) -> None:
    """A plan is refused before it is durable, not when a server happens to be away (P16)."""
    with pytest.raises(InternalError, match="put off"):
        check_plan(plan(*broken_members()[wrong]))
