"""The stream of effects: answered as they become durable, alive beside others, and never in the way of a settlement."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.inventory.conftest import Dump
from tests.contract.inventory.samples import create, delete, effect, locked, pool, server, undo, update
from tests.contract.inventory.served import Served, wait_until
from tests.contract.inventory.test_reads import execute
from virtyard.api.inventory.v1 import inventory_service_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as pb
from virtyard.api.participant.v1 import participant_service_pb2_grpc
from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel.errors import NotFound, PermissionDenied, StaleEpoch
from virtyard.runtime.status import errors_named, from_status

DONE = pb.EFFECT_STATE_DONE


async def test_stream_answers_every_effect_under_its_key(served: Served) -> None:
    """Requests are answered while the stream stays open, and an effect that is repeated is answered again."""
    call = served.participant.Execute()
    reports: list[pb.EffectReport] = []
    for turn in range(3):
        asked = [effect(f"{number}/1/1", create(pool(f"p{number}"))) for number in range(1, 9)]
        await call.write(pb.ExecuteRequest(effects=asked))
        while len(reports) < 8 * (turn + 1):
            async with asyncio.timeout(5):
                response = await call.read()
            assert isinstance(response, pb.ExecuteResponse)
            reports += response.reports
    await call.done_writing()
    assert {(report.step_key, report.phase, report.attempt) for report in reports} == {
        (f"{number}/1/1", pb.PHASE_DO, 1) for number in range(1, 9)
    }
    assert all(report.result.state == DONE for report in reports)


async def test_waiting_effects_share_rounds(served: Served) -> None:
    """What waits is carried out together: far fewer commits than effects."""
    before = served.inventory.database.commits
    await execute(served, *(effect(f"{number}/1/1", create(pool(f"p{number}"))) for number in range(1, 301)))
    assert served.inventory.database.commits - before < 10


async def test_streams_of_many_schedulers_share_commits(served: Served) -> None:
    """Concurrent streams are committed together."""
    before = served.inventory.database.commits
    tasks = [execute(served, effect(f"{number}/1/1", create(pool(f"p{number}")))) for number in range(1, 41)]
    await asyncio.gather(*tasks)
    assert served.inventory.database.commits - before < 40


async def test_broken_stream_aborts_no_effect(served: Served) -> None:
    """A scheduler that vanishes after sending finds the effect done, and is told its result when it asks again."""
    asked = effect("1/1/1", create(pool("p")))
    call = served.participant.Execute()
    await call.write(pb.ExecuteRequest(effects=[asked]))
    await wait_until(lambda: served.inventory.feed.head > 0)
    call.cancel()
    await execute(served, asked)
    assert served.inventory.feed.head == 2, "the pool, and the event that it was created"


async def test_settle_over_the_wire(served: Served) -> None:
    """A settled key is refused for ever; a stale scheduler may not settle."""
    request = pb.SettleRequest(step_key="1/1/1", phase=pb.PHASE_DO, attempt=1, epoch=3)
    settled = await served.participant.Settle(request)
    assert settled.record.state == pb.EFFECT_STATE_NOT_BEGUN
    call = served.participant.Execute()
    await call.write(pb.ExecuteRequest(effects=[effect("1/1/1", create(pool("p")), epoch=3)]))
    response = await call.read()
    assert isinstance(response, pb.ExecuteResponse)
    assert response.reports[0].result.state == pb.EFFECT_STATE_NOT_BEGUN
    call.cancel()
    request.epoch = 2
    with pytest.raises(StaleEpoch), errors_named():
        await served.participant.Settle(request)


async def test_refusal_keeps_its_reason_over_the_wire(served: Served) -> None:
    """Reason, resource and what is allowed reach the scheduler as typed details."""
    call = served.participant.Execute()
    await call.write(pb.ExecuteRequest(effects=[effect("1/1/1", delete("serverPools/none"))]))
    response = await call.read()
    assert isinstance(response, pb.ExecuteResponse)
    error = from_status(response.reports[0].result.error)
    assert (type(error), error.resource) == (NotFound, "serverPools/none")
    call.cancel()


async def test_closing_answers_what_has_come_and_ends_the_stream(served: Served) -> None:
    """The stream of effects ends without an error when the inventory closes."""
    call = served.participant.Execute()
    await call.write(pb.ExecuteRequest(effects=[effect("1/1/1", create(pool("p")))]))
    await wait_until(lambda: served.inventory.feed.head > 0)
    served.inventory.end_streams()
    async with asyncio.timeout(5):
        reports = [report async for response in call for report in response.reports]
    assert [report.result.state for report in reports] == [DONE]


async def test_effects_are_for_services_only(served: Served) -> None:
    """An agent may not write into the inventory."""
    stub = participant_service_pb2_grpc.ParticipantServiceStub(served.dial("agent/s"))
    with pytest.raises(PermissionDenied), errors_named():
        await stub.Settle(pb.SettleRequest(step_key="1/1/1"))


async def test_actions_are_the_two_effects(served: Served) -> None:
    """The inventory says what it can carry out, in the order of the names."""
    answer = await served.participant.ListActions(pb.ListActionsRequest())
    assert [(action.message_type.rpartition(".")[2], action.supported) for action in answer.actions] == [
        ("RevertWrites", True),
        ("WriteObjects", True),
    ]


async def test_stale_messages_leave_everything_as_it_was(served: Served, dump_of: Dump) -> None:
    """Lower epoch, overtaken token, old attempt, other payload: refused at the port, with every table unchanged."""
    first = effect("5/1/1", create(pool("p")), epoch=4, token=9)
    second = effect("5/1/2", delete("serverPools/none"), epoch=4, attempt=3)
    await execute(served, first)
    call = served.participant.Execute()
    await call.write(pb.ExecuteRequest(effects=[second]))
    _ = await call.read()
    before = await dump_of()
    stale = [
        effect("5/1/3", create(pool("q")), epoch=3),
        effect("6/1/1", update(pool("p"), "description"), token=8),
        effect("5/1/2", delete("serverPools/none"), epoch=4, attempt=2),
        effect("5/1/1", create(pool("z")), epoch=4, token=9),
        effect("6/1/2", create(server("s")), locks=locked(("servers/s", lock_pb2.LOCK_MODE_UNSPECIFIED, 99))),
    ]
    await call.write(pb.ExecuteRequest(effects=stale))
    reasons: list[str] = []
    while len(reasons) < len(stale):
        response = await call.read()
        assert isinstance(response, pb.ExecuteResponse)
        reasons += [from_status(report.result.error).reason for report in response.reports]
    call.cancel()
    assert reasons == ["STALE_EPOCH", "STALE_TOKEN", "SUPERSEDED", "PAYLOAD_MISMATCH", "INVALID_REQUEST"]
    assert await dump_of() == before


async def test_undo_of_a_round_restores_what_was_there(served: Served) -> None:
    """Undone last first, a whole operation leaves the objects as they were."""
    await execute(served, effect("1/1/1", create(pool("p")), create(server("s"))))
    request = inventory_service_pb2.GetServerPoolRequest(name="serverPools/p")
    before = await served.reads.GetServerPool(request)
    joins = effect("2/1/1", update(server("s", pool="serverPools/p"), "server_pool"), token=2)
    renamed = pool("p")
    renamed.display_name = "other"
    renames = effect("2/1/2", update(renamed, "display_name"), token=2, after="2/1/1")
    await execute(served, joins, renames)
    back = undo(joins)
    back.after = "2/1/2"
    await execute(served, undo(renames), back)
    after = await served.reads.GetServerPool(request)
    assert (after.display_name, list(after.servers)) == (before.display_name, list(before.servers))
    assert after.generation == before.generation + 2
