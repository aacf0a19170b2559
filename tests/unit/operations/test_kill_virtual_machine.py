"""Kill Virtual Machine: the kill is the point of no return, the record follows it."""

from __future__ import annotations

import pytest

from tests.unit.operations.estate import Estate, actions, done_by, field_of, finance, locks, refusal, running, titles
from virtyard.api.inventory.v1 import server_pb2, virtual_machine_pb2, write_objects_pb2
from virtyard.api.operations.v1 import kill_virtual_machine_pb2
from virtyard.kernel.errors import EtagMismatch, NotFound, WrongState

Request = kill_virtual_machine_pb2.KillVirtualMachineRequest
WEB = "virtualMachines/web"


def test_guest_is_ended_before_the_record_says_so() -> None:
    """The kill on the server where it runs, then state, server and placement cleared."""
    plan = running().plan(Request(name=WEB))
    assert titles(plan) == ["Kill Virtual Machine"]
    assert actions(plan) == [("KillGuest", "", "pivot"), ("WriteObjects", "", "forward")]
    assert list(plan.servers) == ["servers/a"]
    update = done_by(plan, write_objects_pb2.WriteObjects)[0].writes[0].update
    assert list(update.update_mask.paths) == ["state", "server", "placement"]
    stopped = update.object.virtual_machine
    assert (stopped.state, stopped.server) == (virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED, "")
    assert locks(plan) == {WEB: "X", "serverPools/Finance": "IX", "servers/a": "IX"}


def test_starting_machine_may_be_killed() -> None:
    """What a failed start left behind can be ended."""
    estate = running()
    estate.get(WEB).state = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STARTING
    assert list(estate.plan(Request(name=WEB)).servers) == ["servers/a"]


def test_stopped_machine_is_refused() -> None:
    """There is nothing to end."""
    refused = refusal(finance(), Request(name=WEB))
    assert isinstance(refused, WrongState)
    assert refused.message == f"name: {WEB} is stopped; it must be running or starting"


def test_machine_on_a_silent_server_is_refused() -> None:
    """A kill that cannot arrive is not accepted; the server is named with its state."""
    estate = running()
    estate.get("servers/a").state = server_pb2.SERVER_STATE_OFFLINE
    refused = refusal(estate, Request(name=WEB))
    assert isinstance(refused, WrongState)
    assert refused.resource == "servers/a"
    assert "offline" in refused.message


@pytest.mark.parametrize(
    ("estate", "asked", "error", "field"),
    [
        (Estate(), Request(name=WEB), NotFound, "name"),
        (running(), Request(name=WEB, etag="old"), EtagMismatch, "etag"),
    ],
)
def test_absent_or_changed_machine_is_refused(
    estate: Estate, asked: Request, error: type[Exception], field: str
) -> None:
    """The name must exist, and be what the caller read."""
    refused = refusal(estate, asked)
    assert type(refused) is error
    assert field_of(refused) == field
