"""The handshake of an agent: closed until it was greeted, deaf to earlier ones, and careful with a lost ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.agent.scenario import DONE, create_repository, scheduler, settlement
from virtyard.agent.handshake import Gate
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import StopError, Superseded, Unavailable, VirtyardError
from virtyard.runtime.status import errors_named, from_status


async def test_an_agent_opens_closed(tmp_path: Path) -> None:
    """Before a handshake no effect is taken; what is settled is not refused, since it may only be forgotten."""
    async with scheduler(tmp_path) as near:
        near.hello = -1  # greets no more by itself
        with pytest.raises(VirtyardError), errors_named():
            await near.run(create_repository(tmp_path))
        with pytest.raises(Unavailable), errors_named():
            await near.settle(settlement(create_repository(tmp_path)))
        await near.greet()
        (record,) = await near.run(create_repository(tmp_path))
        assert record.state == DONE


async def test_a_message_of_an_earlier_handshake_is_refused(tmp_path: Path) -> None:
    """Whoever greeted before the last one must greet again; the numbers rise, also over a restart."""
    async with scheduler(tmp_path) as near:
        first = await near.greet()
        second = await near.greet(hello=40)
        assert second.hello > max(first.hello, 40)
        near.hello = first.hello
        with pytest.raises(Superseded), errors_named():
            await near.run(create_repository(tmp_path))
    async with scheduler(tmp_path) as near:
        assert (await near.greet()).hello > second.hello


@pytest.mark.parametrize("wanting", ["another", "older"])
async def test_a_ledger_that_lacks_something_leaves_the_agent_closed(tmp_path: Path, wanting: str) -> None:
    """Until it was told what is open: of that it looks for the marks, and all the rest below the next is refused."""
    async with scheduler(tmp_path) as near:
        whole = await near.greet()
        known = {"ledger_id": whole.ledger_id, "ledger_sequence": whole.ledger_sequence, "hello": whole.hello}
        assert not (await near.greet(**known)).closed
        known |= {"ledger_id": "ffffffff"} if wanting == "another" else {"ledger_sequence": whole.ledger_sequence + 1}
        greeted = await near.greet(**known)
        assert greeted.closed
        with pytest.raises(Unavailable), errors_named():
            await near.run(create_repository(tmp_path))
        made = create_repository(tmp_path)
        made.epoch = 3
        await near.stub.Resync(
            participant.ResyncRequest(
                hello=greeted.hello,
                next_operation=100,
                epochs=[participant.OperationEpoch(operation=1, epoch=3)],
                effects=[made],
            )
        )
        (record,) = await near.run(made)
        assert from_status(record.error).reason == "UNAVAILABLE", "nothing of it was there, and it was not begun"
        again = create_repository(tmp_path)
        again.attempt, again.epoch = 2, 3
        assert [one.state for one in await near.run(again)] == [DONE]
        ended = create_repository(tmp_path)
        ended.step_key = "2/1/1"
        (record,) = await near.run(ended)
        assert isinstance(from_status(record.error), StopError)
        ended.step_key = "100/1/1"
        (record,) = await near.run(ended)
        assert from_status(record.error).reason != "KEY_REFUSED"


async def test_without_the_gate_an_agent_acts_before_it_was_greeted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate is what refuses: without it the first proof of this file fails."""

    def admit(self: Any, hello: int) -> None:
        del self, hello

    monkeypatch.setattr(Gate, "admit", admit)
    async with scheduler(tmp_path) as near:
        near.hello = -1
        (record,) = await near.run(create_repository(tmp_path))
        assert record.state == DONE
