"""What the inventory keeps over restarts and failed commits: all that it has answered, and nothing twice."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.contract.inventory.samples import GIB, create, effect, pool, server, undo
from tests.fakes.clock import FakeClock
from virtyard.api.inventory.v1 import server_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.participant.v1 import participant_service_pb2_grpc
from virtyard.internal.inventory.v1 import control_service_pb2, control_service_pb2_grpc
from virtyard.inventory.main import Inventory, open_inventory
from virtyard.kernel.errors import Unavailable, WrongState
from virtyard.kernel.permissions import Principal
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.status import errors_named

DONE = participant.EFFECT_STATE_DONE


class Commits:
    """Runs COMMIT, or fails it before or after it is durable."""

    def __init__(self) -> None:
        self.fail_before = self.fail_after = False

    def __call__(self, connection: sqlite3.Connection) -> None:
        """Commit as it is wanted."""
        if self.fail_before:
            self.fail_before = False
            raise sqlite3.OperationalError("disk I/O error")
        connection.execute("COMMIT")
        if self.fail_after:
            self.fail_after = False
            raise sqlite3.OperationalError("disk I/O error")


async def ask(inventory: Inventory, *effects: participant.Effect) -> list[participant.EffectRecord]:
    """Return what came of effects, as the scheduler is told."""
    async with LocalChannel(inventory.services, Principal.of("service/jobs")) as channel:
        call = participant_service_pb2_grpc.ParticipantServiceStub(channel).Execute()
        await call.write(participant.ExecuteRequest(effects=effects))
        await call.done_writing()
        with errors_named():
            return [report.result async for response in call for report in response.reports]


async def view(inventory: Inventory, name: str) -> control_service_pb2.ViewResponse:
    """Return a view of one object."""
    async with LocalChannel(inventory.services, Principal.of("service/jobs")) as channel:
        selection = participant.Selection(object=name)
        request = control_service_pb2.ViewRequest(selections=[selection])
        return await control_service_pb2_grpc.ControlServiceStub(channel).View(request)


async def test_answers_survive_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    """After a restart a repeated effect is answered as before, its undo still works, and the owner id is the same."""
    asked = effect("1/1/1", create(pool("p")), epoch=2)
    async with open_inventory(tmp_path, clock) as inventory:
        first = await ask(inventory, asked)
        before = await view(inventory, "serverPools/p")
    async with open_inventory(tmp_path, clock) as inventory:
        assert await ask(inventory, asked) == first
        assert await view(inventory, "serverPools/p") == before
        (stale,) = await ask(inventory, effect("1/1/2", create(server("s")), epoch=1))
        assert stale.state == participant.EFFECT_STATE_FAILED
        (undone,) = await ask(inventory, undo(asked))
        assert undone.state == DONE
        assert not (await view(inventory, "serverPools/p")).objects


@pytest.mark.parametrize("durable", [False, True], ids=["lost", "durable"])
async def test_failed_commit_is_asked_again(tmp_path: Path, clock: FakeClock, durable: bool) -> None:
    """A failed commit answers nothing but UNAVAILABLE, whatever became of it; the same effect again is done once."""
    commits = Commits()
    async with open_inventory(tmp_path, clock, commit_hook=commits) as inventory:
        asked = effect("1/1/1", create(pool("p")))
        commits.fail_before, commits.fail_after = not durable, durable
        with pytest.raises(Unavailable):
            await ask(inventory, asked)
        (record,) = await ask(inventory, asked)
        assert record.state == DONE
        found = await view(inventory, "serverPools/p")
        assert found.objects[0].server_pool.generation == 1
        assert inventory.feed.head == 2, "the pool, and the one event of its creation"


async def test_second_process_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    """Two inventories never share a folder."""
    async with open_inventory(tmp_path, clock):
        with pytest.raises(WrongState):
            async with open_inventory(tmp_path, clock):
                pass


async def test_presence_begins_anew_after_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    """A server has the whole time of silence before it, however long the inventory was away."""
    async with open_inventory(tmp_path, clock) as inventory:
        await ask(inventory, effect("1/1/1", create(server("s", memory=GIB))))
    clock.advance(3600)
    async with open_inventory(tmp_path, clock) as inventory:
        assert await inventory.presence.sweep() == []
        assert (await view(inventory, "servers/s")).objects[0].server.state == server_pb2.SERVER_STATE_ONLINE
        clock.advance(36)
        assert await inventory.presence.sweep() == ["servers/s"]


async def test_report_that_cannot_be_stored_is_stored_with_the_next_one(tmp_path: Path, clock: FakeClock) -> None:
    """A failed commit of a server's silence is made up for by the next look."""
    commits = Commits()
    async with open_inventory(tmp_path, clock, commit_hook=commits) as inventory:
        await ask(inventory, effect("1/1/1", create(server("s", memory=GIB))))
        clock.advance(36)
        commits.fail_before = True
        with pytest.raises(Unavailable):
            await inventory.presence.sweep()
        assert await inventory.presence.sweep() == ["servers/s"]
        assert (await view(inventory, "servers/s")).objects[0].server.state == server_pb2.SERVER_STATE_OFFLINE


async def test_view_of_a_missing_object_is_empty(tmp_path: Path, clock: FakeClock) -> None:
    """A view says nothing of what does not exist, so that a planner can take the name."""
    async with open_inventory(tmp_path, clock) as inventory:
        found = await view(inventory, "serverPools/none")
        assert (len(found.objects), found.sequence) == (0, 0)
