"""Restart Virtual Machine: its guest goes down and boots where it is, and the record says that it runs there."""

from __future__ import annotations

from tests.unit.operations.estate import actions, done_by, running, titles
from virtyard.api.inventory.v1 import virtual_machine_pb2, write_objects_pb2
from virtyard.api.operations.v1 import restart_virtual_machine_pb2

WEB = "virtualMachines/web"


def test_the_record_says_where_it_runs_whatever_became_of_the_guest_meanwhile() -> None:
    """A guest that ends while the restart waits for locks is recorded as stopped, at the same generation."""
    plan = running().plan(restart_virtual_machine_pb2.RestartVirtualMachineRequest(name=WEB))
    assert titles(plan) == ["Restart Virtual Machine"]
    assert actions(plan)[-1] == ("WriteObjects", "", "forward")
    kept, recorded = done_by(plan, write_objects_pb2.WriteObjects)
    assert not kept.writes, "nothing is recorded before the guest is asked, whatever became of it"
    update = recorded.writes[0].update
    assert list(update.update_mask.paths) == ["state", "server", "placement"]
    after = update.object.virtual_machine
    assert (after.state, after.server) == (virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING, "servers/a")
