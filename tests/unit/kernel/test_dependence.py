"""Which jobs need which others, by what they name, make and bind to."""

from __future__ import annotations

import pytest

from tests.unit.jobs.plans import bind, job, shape_of
from tests.unit.operations.estate import finance, new_machine
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.kernel.dependence import Families, names_in


@pytest.mark.parametrize(
    ("failed", "needing"),
    [
        ("1", ["2", "3", "4", "5", "6", "7"]),
        ("2", ["3", "4", "5", "6", "7"]),
        ("3", ["4"]),
        ("4", []),
        ("5", ["6"]),
        ("7", []),
    ],
)
def test_a_machine_needs_its_record_and_a_disk_its_image(failed: str, needing: list[str]) -> None:
    """Without the machine nothing else has a purpose; a disk that fails takes only its attachment with it."""
    assert Families(finance().plan(new_machine(2, 1))).needing(failed) == needing


def test_what_takes_a_value_from_a_job_needs_it() -> None:
    """A binding is a need, also where nothing is named."""
    plan = shape_of(job(1, "inventory"), bind(job(2, "servers/a", after=[1]), 1, "1/1"), job(3, "servers/b", after=[2]))
    assert Families(plan.plan).needing("1") == ["2"]


def test_what_comes_before_or_beside_a_job_does_not_need_it() -> None:
    """Two jobs on one object are in each other's need only where one follows the other."""
    first, second = job(1, "servers/a"), job(2, "servers/a")
    second.object = second.steps[0].target = first.object
    plan = plan_pb2.Plan(jobs=[first, second])
    assert Families(plan).needing("1") == []
    second.after.append("1")
    assert Families(plan_pb2.Plan(jobs=[first, second])).needing("1") == ["2"]
    assert Families(plan_pb2.Plan(jobs=[first, second])).needing("2") == []


def test_need_is_handed_on() -> None:
    """What needs a job that is lost is lost, however far behind it comes."""
    plan = shape_of(
        job(1, "inventory"),
        bind(job(2, "servers/a", after=[1]), 1, "1/1"),
        job(3, "servers/b", after=[2]),
        bind(job(4, "servers/c", after=[3]), 1, "2/1"),
    )
    assert Families(plan.plan).needing("1") == ["2", "4"]


def test_a_family_goes_by_its_top_level_job() -> None:
    """Children, and theirs, are of the family of the job at the top."""
    plan = shape_of(
        job(1, "inventory"), job(2, "servers/a", parent=1), job(3, "servers/b", parent=2), job(4, "servers/c")
    )
    families = Families(plan.plan)
    assert [families.head(number) for number in "1234"] == ["1", "1", "1", "4"]
    assert [member.id for member in families.members("1")] == ["1", "2", "3"]


def test_every_text_of_a_message_is_found() -> None:
    """In fields, lists, inner messages and maps."""
    machine = virtual_machine_pb2.VirtualMachine(
        name="virtualMachines/a",
        labels={"key": "value"},
        boot=virtual_machine_pb2.BootSource(kernel_path="/k"),
        virtual_disks=["virtualDisks/d"],
    )
    assert set(names_in(machine)) == {"virtualMachines/a", "key", "value", "/k", "virtualDisks/d"}
