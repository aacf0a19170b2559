"""Validation: every wrong field is named, with what is allowed, before anybody looks at the inventory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from virtyard.api.inventory.v1 import server_pb2, virtual_machine_pb2
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import (
    create_server_pool_pb2,
    create_virtual_machine_pb2,
    discover_server_pb2,
    rename_virtual_machine_pb2,
)
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.validation import configured, validate

Request = create_virtual_machine_pb2.CreateVirtualMachineRequest
UUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def good() -> Request:
    """Return a request that nothing is wrong with."""
    return Request(
        virtual_machine_id="web",
        virtual_machine=virtual_machine_pb2.VirtualMachine(server_pool="serverPools/p", memory_bytes=1 << 30, cpus=1),
        disks=[create_virtual_machine_pb2.NewVirtualDisk(repository="repositories/r", size_bytes=1 << 30)],
        request_id=UUID,
    )


def wrong(request: Request | create_server_pool_pb2.CreateServerPoolRequest) -> dict[str, str]:
    """Return the violations of a request, by field."""
    with pytest.raises(InvalidRequest) as caught:
        validate(request)
    return {violation.field: violation.description for violation in caught.value.violations}


def test_good_request_passes() -> None:
    """Nothing is refused without a reason."""
    validate(good())


def _set(path: str, value: object) -> Callable[[Request], None]:
    def change(request: Request) -> None:
        owner: object = request
        *above, last = path.split(".")
        for part in above:
            owner = request.disks[0] if part == "disks[0]" else getattr(owner, part)
        setattr(owner, last, value)

    return change


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("virtual_machine_id", "", "is required"),
        ("request_id", "12", "is not a UUID"),
        ("virtual_machine.server_pool", "servers/a", "allowed is serverPools/ID"),
        ("virtual_machine.server_pool", "Finance", "allowed is serverPools/ID"),
        ("virtual_machine.memory_bytes", -1, "0 or more"),
        ("virtual_machine.cpus", -1, "0 or more"),
        ("virtual_machine.description", "a\x00b", "control characters"),
        ("virtual_machine.description", "x" * 4097, "at most 4096 characters"),
        ("virtual_machine.boot.kernel_path", "/a\nb", "control characters"),
        ("disks[0].repository", "", "is required"),
        ("disks[0].repository", "repositories/", "allowed is repositories/ID"),
        ("disks[0].size_bytes", -5, "0 or more"),
        ("disks[0].allocation", 77, "DISK_ALLOCATION_SPARSE, DISK_ALLOCATION_FULL"),
        ("options.on_failure", 9, "ON_FAILURE_ROLL_BACK"),
    ],
)
def test_wrong_field_is_named_with_what_is_allowed(field: str, value: object, words: str) -> None:
    """Required fields, forms, quantities, enums and texts, wherever in the request they are."""
    request = good()
    _set(field, value)(request)
    found = wrong(request)
    assert list(found) == [field]
    assert words in found[field]


def test_all_wrong_fields_are_named_at_once() -> None:
    """A person mends a request in one go."""
    found = wrong(Request(request_id="x", disks=[create_virtual_machine_pb2.NewVirtualDisk()]))
    assert list(found) == [
        "virtual_machine_id",
        "virtual_machine",
        "disks[0].repository",
        "request_id",
    ]


def test_labels_are_checked_as_texts() -> None:
    """Keys and values both."""
    request = good()
    request.virtual_machine.labels["a\nb"] = "x"
    assert list(wrong(request)) == ["virtual_machine.labels"]


def test_every_item_of_a_list_is_checked() -> None:
    """The refusal counts from 0; too many are refused without reading them."""
    request = create_server_pool_pb2.CreateServerPoolRequest(server_pool_id="p", servers=["servers/a", "b"])
    request.server_pool.clustered = True
    assert list(wrong(request)) == ["servers[1]"]
    request.servers.extend(["servers/x"] * 999)
    assert wrong(request) == {"servers": "at most 1000 are allowed"}


def test_number_that_is_not_finite_is_refused() -> None:
    """Neither infinity nor what is no number."""
    for value in (float("nan"), float("inf")):
        with pytest.raises(InvalidRequest):
            validate(plan_pb2.PlannedStep(weight=value))


def test_fields_of_the_server_are_not_looked_at() -> None:
    """What a read object carries may be sent back: it is dropped, not refused."""
    request = good()
    request.virtual_machine.server = "no name"
    request.virtual_machine.uid = "\x00"
    validate(request)


def test_present_empty_message_counts_as_given() -> None:
    """A required message may be empty: what is inside has its own rules."""
    validate(discover_server_pb2.DiscoverServerRequest(server_id="a", server=server_pb2.Server()))
    with pytest.raises(InvalidRequest):
        validate(discover_server_pb2.DiscoverServerRequest(server_id="a"))


def test_configured_keeps_what_callers_set() -> None:
    """Names, uids, states, times, projections and etags are the server's."""
    given = virtual_machine_pb2.VirtualMachine(
        name="virtualMachines/x",
        uid="u",
        etag="e",
        generation=3,
        server="servers/a",
        state=virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING,
        display_name="X",
        description="d",
        labels={"a": "b"},
        cpus=2,
        server_pool="serverPools/p",
    )
    before = given.SerializeToString(deterministic=True)
    assert configured(given) == virtual_machine_pb2.VirtualMachine(
        display_name="X", description="d", labels={"a": "b"}, cpus=2, server_pool="serverPools/p"
    )
    assert given.SerializeToString(deterministic=True) == before


def test_requests_other_than_creations_are_checked_too() -> None:
    """The rules are read off the options of whatever comes."""
    with pytest.raises(InvalidRequest) as caught:
        validate(rename_virtual_machine_pb2.RenameVirtualMachineRequest(name="servers/a"))
    assert [violation.field for violation in caught.value.violations] == ["name", "display_name"]
