"""Rules that hold for the plan of every operation type, whichever it is."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.unit.operations.estate import SERVICE, Estate, done_by, every_case, field_of, operation_of, refusal
from virtyard.api.inventory.v1 import write_objects_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import operation_service_pb2
from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel.effects import check_coverage
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import unwrap
from virtyard.kernel.plan import check_plan, steps_of
from virtyard.kernel.validation import validate
from virtyard.operations.catalogue import load

CASES = every_case()


@pytest.fixture(params=sorted(CASES))
def planned(request: pytest.FixtureRequest) -> plan_pb2.Plan:
    """Return the plan of one case."""
    estate, asked = CASES[request.param]
    return estate.plan(asked)


def test_every_operation_type_is_in_the_cases_below() -> None:
    """No operation type escapes the rules of this file."""
    assert {operation_of(asked).method for _, asked in CASES.values()} == set(load())


def test_every_method_of_the_service_has_an_operation_type() -> None:
    """What the contract offers can be planned, and nothing else claims to be."""
    methods = operation_service_pb2.DESCRIPTOR.services_by_name["OperationService"].methods
    assert {SERVICE + method.name for method in methods} == set(load())


@pytest.mark.parametrize("case", sorted(CASES))
def test_request_of_the_cases_passes_validation(case: str) -> None:
    """The cases are requests that a client could really send."""
    validate(CASES[case][1])


@pytest.mark.parametrize("case", sorted(CASES))
def test_planning_is_pure(case: str) -> None:
    """The same request over the same view gives the same bytes, and changes neither."""
    estate, asked = CASES[case]
    before, objects = (
        asked.SerializeToString(),
        {name: item.SerializeToString() for name, item in estate.objects.items()},
    )
    first, second = estate.plan(asked), every_case()[case][0].plan(asked)
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert asked.SerializeToString() == before
    assert {name: item.SerializeToString() for name, item in estate.objects.items()} == objects


def test_plan_keeps_the_rules(planned: plan_pb2.Plan) -> None:
    """Undoable steps, one pivot, forward steps; bindings resolve by type; jobs refer to earlier ones (P6)."""
    check_plan(planned)


def test_every_step_is_covered_by_an_exclusive_lock(planned: plan_pb2.Plan) -> None:
    """A participant would find X on the target or an ancestor among the plan's locks (P2)."""
    locks = [lock_pb2.LockToken(object=lock.object, mode=lock.mode, fencing_token=1) for lock in planned.locks]
    for _, step in steps_of(planned):
        check_coverage(step.target, locks)


def test_every_written_object_is_covered_by_an_exclusive_lock(planned: plan_pb2.Plan) -> None:
    """Not only the step's target: no object is written that another operation could be changing.

    What is only observed of a server is no configuration, and no lock protects it from reports either.
    """
    locks = [lock_pb2.LockToken(object=lock.object, mode=lock.mode, fencing_token=1) for lock in planned.locks]
    for name in written(planned) - observed(planned):
        check_coverage(name, locks)


def written(plan: plan_pb2.Plan) -> set[str]:
    """Return the names of all objects that a plan writes."""
    writes = [write for effect in done_by(plan, write_objects_pb2.WriteObjects) for write in effect.writes]
    typed: list[Any] = [unwrap(write.create) for write in writes if write.HasField("create")]
    typed += [unwrap(write.update.object) for write in writes if write.HasField("update")]
    return {item.name for item in typed} | {write.delete for write in writes if write.HasField("delete")}


def observed(plan: plan_pb2.Plan) -> set[str]:
    """Return the names of the objects of which a plan writes only what is observed."""
    writes = [write for effect in done_by(plan, write_objects_pb2.WriteObjects) for write in effect.writes]
    updates = [write.update for write in writes if write.HasField("update")]
    only = [each for each in updates if all(path.startswith("observed.") for path in each.update_mask.paths)]
    return {cast(Any, unwrap(each.object)).name for each in only}


def test_written_objects_and_participants_are_in_the_read_set(planned: plan_pb2.Plan) -> None:
    """What the plan relies on is read again under the lock, names to be taken included (P4)."""
    read = {version.object for version in planned.read_set.versions}
    servers = {server for server in planned.servers if planned.jobs[0].title != "Discover Server"}
    assert written(planned) | servers <= read


def test_locked_names_are_in_the_read_set(planned: plan_pb2.Plan) -> None:
    """A lock is taken on nothing that was not looked at; the one of a proof stands for its server."""
    read = {version.object for version in planned.read_set.versions}
    assert {lock.object.removeprefix("proofs/") for lock in planned.locks} <= read


def test_every_lock_has_intentions_on_its_ancestors(planned: plan_pb2.Plan) -> None:
    """Whoever locks below a pool or repository is met by whoever locks the pool or repository."""
    modes = {lock.object: LockMode(lock.mode) for lock in planned.locks}
    for name, mode in modes.items():
        if name.startswith("virtualDisks/"):
            above = [modes[other] for other in modes if other.startswith("repositories/")]
            assert above
            assert mode == LockMode.S or all(other >= LockMode.IX for other in above)
        if name.startswith(("virtualMachines/", "clusters/", "heartbeatDevices/", "vnics/")):
            assert any(other.startswith("serverPools/") and modes[other] >= LockMode.IX for other in modes)


def test_references_are_numbers_and_jobs_have_steps(planned: plan_pb2.Plan) -> None:
    """Step keys are operation/job/step, all numbers; a parent's work may be its children's."""
    for job in planned.jobs:
        assert job.id.isdigit()
        assert job.steps or any(child.parent == job.id for child in planned.jobs)
        assert [step.id for step in job.steps] == [str(number) for number, _ in enumerate(job.steps, 1)]


@pytest.mark.parametrize("case", sorted(CASES))
def test_refusal_of_an_empty_site_names_its_field(case: str) -> None:
    """Whatever is asked for where nothing exists is refused by field; only what refers to nothing needs nothing."""
    if case not in {"DiscoverServer", "CreateFilter", "CreateSchedule", "CreateTrigger", "CreateWebhook"}:
        assert field_of(refusal(Estate(), CASES[case][1]))


def test_uids_of_new_objects_differ() -> None:
    """Two objects of one plan never share a uid, though all are minted from one seed."""
    plan = CASES["CreateVirtualMachine full"][0].plan(CASES["CreateVirtualMachine full"][1])
    writes = [write for effect in done_by(plan, write_objects_pb2.WriteObjects) for write in effect.writes]
    typed: list[Any] = [unwrap(write.create) for write in writes if write.HasField("create")]
    assert len(typed) == len({item.uid for item in typed}) == 7
