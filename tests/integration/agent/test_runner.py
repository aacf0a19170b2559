"""Effects on an agent: done once, in order, whatever the streams do, and stopped by nothing but a settlement."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.integration.agent.scenario import (
    ABORTED,
    DONE,
    FAILED,
    MIB,
    NOT_BEGUN,
    RESIDUE,
    Gate,
    Scheduler,
    create_disk,
    create_repository,
    effect,
    scheduler,
    settlement,
    undoing,
)
from virtyard.agent import ledger as ledger_module
from virtyard.agent.actions.catalogue import load
from virtyard.agent.actions.contract import Context, LeftBehindError, Outcome
from virtyard.agent.actions.create_disk_file import ACTION as CREATE_DISK
from virtyard.agent.drivers.network.sim import SimNetwork
from virtyard.agent.drivers.storage.directory import DirectoryStorage
from virtyard.api.actions.v1 import create_disk_file_pb2, kill_guest_pb2, start_guest_pb2
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel.errors import Contended, InternalError, StaleEpoch, VirtyardError
from virtyard.runtime.status import from_status


def error_of(record: participant.EffectRecord) -> VirtyardError:
    """The error in a record, as it was raised."""
    return from_status(record.error)


def files(folder: Path) -> list[str]:
    """The images of the repository."""
    return sorted(path.name for path in (folder / "share" / "repo" / "disks").iterdir())


def rows(folder: Path) -> dict[str, list[Any]]:
    """Everything that the ledger holds."""
    with sqlite3.connect(folder / "state" / "ledger.db") as sql:
        tables = ("ledger", "epoch", "token", "position")
        return {table: sql.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}


@pytest.fixture
async def gate(tmp_path: Path) -> Gate:
    """What holds every creation of an image back."""
    return Gate(CREATE_DISK)


@pytest.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[Scheduler]:
    """A scheduler, with the repository made."""
    async with scheduler(tmp_path) as jobs:
        await jobs.run(create_repository(tmp_path))
        yield jobs


@pytest.fixture
async def gated(tmp_path: Path, gate: Gate) -> AsyncIterator[Scheduler]:
    """A scheduler whose creations of images wait at the gate, with the repository made."""
    async with scheduler(tmp_path, gate.catalogue) as jobs:
        await jobs.run(create_repository(tmp_path))
        yield jobs


async def test_an_effect_is_done_and_its_result_typed(jobs: Scheduler, tmp_path: Path) -> None:
    """The record has the typed result and a position of the ledger; the image is there."""
    (record,) = await jobs.run(create_disk(tmp_path))
    result = create_disk_file_pb2.CreateDiskFileResult()
    assert record.result.Unpack(result)
    assert (record.state, record.changed, result.path) == (DONE, True, "disks/d1.raw")
    assert record.ledger_sequence == jobs.agent.ledger.position
    assert files(tmp_path) == ["d1.json", "d1.raw"]


async def test_a_repeated_effect_gets_the_recorded_result(gated: Scheduler, gate: Gate, tmp_path: Path) -> None:
    """The same key again is answered from the ledger and done once, also by an agent that started again."""
    gate.open.set()
    first = await gated.run(create_disk(tmp_path))
    assert await gated.run(create_disk(tmp_path)) == first
    assert gate.calls == 1


async def test_the_ledger_answers_after_a_restart(tmp_path: Path) -> None:
    """An agent that started again answers with the old result and leaves the host alone."""
    async with scheduler(tmp_path) as jobs:
        records = await jobs.run(create_repository(tmp_path), create_disk(tmp_path, after="1/1/1"))
    (tmp_path / "share" / "repo" / "disks" / "d1.raw").unlink()
    async with scheduler(tmp_path) as jobs:
        assert await jobs.run(create_repository(tmp_path), create_disk(tmp_path, after="1/1/1")) == records
    assert files(tmp_path) == ["d1.json"]


async def test_a_broken_stream_leaves_the_effect_running(gated: Scheduler, gate: Gate, tmp_path: Path) -> None:
    """The stream that brought it is cut; another one attaches to the same effect and hears its result."""
    first = asyncio.ensure_future(gated.run(create_disk(tmp_path)))
    await gate.begun.wait()
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.ensure_future(gated.run(create_disk(tmp_path)))
    third = asyncio.ensure_future(gated.run(create_disk(tmp_path)))
    await asyncio.wait([second, third], timeout=0.05)
    gate.open.set()
    assert (await second)[0].state == DONE
    assert await third == await second
    assert gate.calls == 1


async def test_a_long_effect_says_that_it_was_accepted_and_how_far_it_is(jobs: Scheduler, tmp_path: Path) -> None:
    """Accepted comes first, then progress that never falls and never floods, then the result."""
    async with asyncio.timeout(60):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        reports = await jobs.reports(create_disk(tmp_path, size=1 << 30, full=True))
        seconds = loop.time() - begun
    kinds = [report.WhichOneof("report") for report in reports]
    percents = [report.progress.percent for report in reports if report.HasField("progress")]
    assert kinds[0] == "accepted_time"
    assert kinds[-1] == "result"
    assert percents == sorted(percents)
    assert 1 <= len(percents) <= seconds * 10 + 1
    assert any(0 < percent < 100 for percent in percents)


async def test_a_settled_key_is_refused_for_ever(gated: Scheduler, gate: Gate, tmp_path: Path) -> None:
    """A key that never came is settled as never begun; the late message is refused and nothing is done (P1)."""
    late = create_disk(tmp_path)
    assert (await gated.settle(settlement(late))).state == NOT_BEGUN
    (record,) = await gated.run(late)
    assert record.state == NOT_BEGUN
    assert error_of(record).reason == "KEY_REFUSED"
    assert (await gated.settle(settlement(late))).state == NOT_BEGUN
    assert gate.calls == 0
    assert files(tmp_path) == []


async def test_a_settled_effect_that_ended_keeps_its_result(jobs: Scheduler, tmp_path: Path) -> None:
    """Settling what is done answers with the record."""
    (record,) = await jobs.run(create_disk(tmp_path))
    assert await jobs.settle(settlement(create_disk(tmp_path), stop=True)) == record


async def test_a_running_effect_is_stopped_and_leaves_nothing(jobs: Scheduler, tmp_path: Path) -> None:
    """Stop reaches a disk that is really being written, within a second, and the record says ABORTED."""
    sent = create_disk(tmp_path, size=4 << 30, full=True)
    running = asyncio.ensure_future(jobs.run(sent))
    disk = tmp_path / "share" / "repo" / "disks" / "d1.raw.part"
    async with asyncio.timeout(30):
        while not disk.exists() or disk.stat().st_blocks * 512 < 64 * MIB:
            await asyncio.sleep(0.01)
    begun = asyncio.get_running_loop().time()
    record = await jobs.settle(settlement(sent, stop=True))
    assert asyncio.get_running_loop().time() - begun < 1
    assert (record.state, error_of(record).reason) == (ABORTED, "CANCELLED")
    assert await running == [record]
    assert files(tmp_path) == []


async def test_a_stop_that_came_too_late_is_told_so(tmp_path: Path) -> None:
    """Stopped when its effect is there, the step is DONE, and so it will be undone."""
    acted = asyncio.Event()

    async def do(message: Any, context: Context) -> Outcome:
        outcome = await CREATE_DISK.do(message, context)
        acted.set()
        await asyncio.Event().wait()
        return outcome

    catalogue = {**load(), CREATE_DISK.message.DESCRIPTOR.full_name: replace(CREATE_DISK, do=do)}
    async with scheduler(tmp_path, catalogue) as jobs:
        await jobs.run(create_repository(tmp_path))
        sent = create_disk(tmp_path)
        running = asyncio.ensure_future(jobs.run(sent))
        async with asyncio.timeout(30):
            await acted.wait()
        record = await jobs.settle(settlement(sent, stop=True))
        assert (record.state, record.changed) == (DONE, True)
        assert await running == [record]
        (record,) = await jobs.run(undoing(sent))
        assert (record.state, record.changed) == (DONE, True)
        assert files(tmp_path) == []


async def test_a_stop_may_come_before_the_first_step(gated: Scheduler, gate: Gate, tmp_path: Path) -> None:
    """Accepted and stopped in one commit, the effect never acts, and its record is there all the same."""
    sent = create_disk(tmp_path)
    runner = gated.agent.runner
    _, record = await asyncio.gather(
        runner.execute([sent], lambda report: None), runner.settle(settlement(sent, stop=True))
    )
    assert record.state == ABORTED
    assert gate.calls == 0


async def test_settling_without_a_stop_waits(gated: Scheduler, gate: Gate, tmp_path: Path) -> None:
    """The answer is the final record, and the effect is left to end by itself."""
    running = asyncio.ensure_future(gated.run(create_disk(tmp_path)))
    await gate.begun.wait()
    settling = asyncio.ensure_future(gated.settle(settlement(create_disk(tmp_path))))
    await asyncio.wait([settling], timeout=0.05)
    assert not settling.done()
    gate.open.set()
    assert (await settling).state == DONE
    assert await running == [await settling]


async def test_a_round_runs_in_order(gated: Scheduler, gate: Gate, tmp_path: Path) -> None:
    """An effect waits for the one that it comes after."""
    first = create_disk(tmp_path, "2/1/1", "d1")
    second = create_disk(tmp_path, "2/2/1", "d2", after="2/1/1")
    running = asyncio.ensure_future(gated.run(first, second))
    await gate.begun.wait()
    await asyncio.wait([running], timeout=0.05)
    assert gate.calls == 1
    gate.open.set()
    assert [record.state for record in await running] == [DONE, DONE]


async def test_after_a_failure_the_rest_of_the_round_never_begins(jobs: Scheduler, tmp_path: Path) -> None:
    """A failed predecessor makes the rest NOT_BEGUN, durably."""
    bad = create_disk(tmp_path, "2/1/1", "d1", size=5)
    rest = [
        create_disk(tmp_path, "2/2/1", "d2", after="2/1/1"),
        create_disk(tmp_path, "2/3/1", "d3", after="2/2/1"),
    ]
    records = await jobs.run(bad, *rest)
    assert [record.state for record in records] == [FAILED, NOT_BEGUN, NOT_BEGUN]
    assert error_of(records[0]).violations[0].field == "size_bytes"
    assert files(tmp_path) == []
    again = await jobs.run(*rest)
    assert [record.state for record in again] == [NOT_BEGUN, NOT_BEGUN]
    late = await jobs.run(create_disk(tmp_path, "2/4/1", "d4", after="2/1/1"))
    assert [record.state for record in late] == [NOT_BEGUN]


async def test_a_predecessor_that_is_unknown_is_refused(jobs: Scheduler, tmp_path: Path) -> None:
    """A round that lost its beginning is refused by the field's name."""
    (record,) = await jobs.run(create_disk(tmp_path, after="2/9/9"))
    assert error_of(record).violations[0].field == "after"


async def test_a_new_attempt_needs_the_old_one_to_have_failed(gated: Scheduler, gate: Gate, tmp_path: Path) -> None:
    """While attempt 1 runs, 2 is refused; after it, 1 again answers and a lower one is superseded (P8)."""
    running = asyncio.ensure_future(gated.run(create_disk(tmp_path)))
    await gate.begun.wait()
    (record,) = await gated.run(create_disk(tmp_path, attempt=2))
    assert error_of(record).reason == "SUPERSEDED"
    gate.open.set()
    await running
    (record,) = await gated.run(create_disk(tmp_path, attempt=3))
    assert record.state == DONE
    (record,) = await gated.run(create_disk(tmp_path, attempt=2))
    assert error_of(record).reason == "SUPERSEDED"


async def test_an_undo_removes_what_its_step_made(jobs: Scheduler, tmp_path: Path) -> None:
    """The undo has a record of its own under the same step key, and leaves nothing of the step."""
    sent = create_disk(tmp_path)
    await jobs.run(sent)
    (record,) = await jobs.run(undoing(sent))
    assert (record.state, record.changed) == (DONE, True)
    assert files(tmp_path) == []
    assert (await jobs.run(sent))[0].state == DONE


async def test_an_undo_of_nothing_is_success(jobs: Scheduler, tmp_path: Path) -> None:
    """What was never made, or was made by another step, is not touched (P9, P10)."""
    (record,) = await jobs.run(undoing(create_disk(tmp_path)))
    assert (record.state, record.changed) == (DONE, False)
    await jobs.run(create_disk(tmp_path, "3/1/1"))
    refused, undone = (
        await jobs.run(create_disk(tmp_path, "4/1/1", token=2)),
        undoing(create_disk(tmp_path, "4/1/1", token=2)),
    )
    assert error_of(refused[0]).reason == "ALREADY_EXISTS"
    assert [record.changed for record in await jobs.run(undone)] == [False]
    assert files(tmp_path) == ["d1.json", "d1.raw"]


async def test_without_the_mark_an_undo_removes_what_is_anothers(
    jobs: Scheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark is what keeps it: where it is not looked at, the undo of a refused step takes the other's image (P9)."""
    remove = DirectoryStorage.remove_disk
    monkeypatch.setattr(DirectoryStorage, "remove_disk", lambda self, place, uid, _: remove(self, place, uid))
    late = create_disk(tmp_path, "4/1/1", token=2)
    await jobs.run(create_disk(tmp_path, "3/1/1"))
    (refused,) = await jobs.run(late)
    assert error_of(refused).reason == "ALREADY_EXISTS"
    (undone,) = await jobs.run(undoing(late))
    assert (undone.state, undone.changed, files(tmp_path)) == (DONE, True, [])


async def test_an_undo_of_what_was_so_already_does_nothing(jobs: Scheduler) -> None:
    """A guest that was killed by nobody is not started by the undo: the step had changed nothing."""
    kill = kill_guest_pb2.KillGuest(virtual_machine="virtualMachines/db", uid="m1")
    start = start_guest_pb2.StartGuest(virtual_machine="virtualMachines/db", uid="m1", cpus=1, memory_bytes=64 * MIB)
    sent = effect("5/1/1", kill, undo=start)
    (record,) = await jobs.run(sent)
    assert (record.state, record.changed) == (DONE, False)
    (record,) = await jobs.run(undoing(sent))
    assert (record.state, record.changed) == (DONE, False)
    assert await jobs.agent.host.hypervisor.guests() == []


STALE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "epoch": ("STALE_EPOCH", "check_epoch", {"step_key": "9/2/1", "epoch": 1}),
    "token": ("STALE_TOKEN", "check_tokens", {"step_key": "8/1/1", "token": 4}),
    "attempt": ("SUPERSEDED", "check_attempt", {"step_key": "9/1/1", "attempt": 1}),
    "payload": ("PAYLOAD_MISMATCH", "check_payload", {"step_key": "9/1/1", "attempt": 2, "size": 2 * MIB}),
    "lock": ("INTERNAL_ERROR", "check_coverage", {"step_key": "9/2/1", "locks": "none"}),
}


def stale(folder: Path, fields: dict[str, Any]) -> participant.Effect:
    """An effect that comes too late, or without what it needs."""
    uncovered = fields.get("locks") == "none"
    named = {name: value for name, value in {"token": 5, "epoch": 2, **fields}.items() if name != "locks"}
    late = create_disk(folder, **named)
    if uncovered:
        late.locks[0].mode = lock_pb2.LOCK_MODE_IX
    return late


async def arrange(jobs: Scheduler, folder: Path) -> None:
    """Let attempt 2 of step 9/1/1 be done under epoch 2 and token 5, and undone."""
    sent = create_disk(folder, "9/1/1", token=5, epoch=2, attempt=2)
    await jobs.run(sent)
    await jobs.run(undoing(sent))
    assert files(folder) == []


@pytest.mark.parametrize("kind", STALE)
async def test_what_is_stale_is_refused_and_changes_nothing(jobs: Scheduler, tmp_path: Path, kind: str) -> None:
    """A lower epoch, overtaken token, old attempt, other payload, no lock: host and ledger stay as they were."""
    await arrange(jobs, tmp_path)
    before = rows(tmp_path)
    reason, _, fields = STALE[kind]
    (record,) = await jobs.run(stale(tmp_path, fields))
    assert (record.state, error_of(record).reason) == (FAILED, reason)
    assert rows(tmp_path) == before
    assert files(tmp_path) == []


@pytest.mark.parametrize("kind", STALE)
async def test_each_check_is_what_refuses(
    jobs: Scheduler, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one check switched off, exactly what it stands against gets through."""
    await arrange(jobs, tmp_path)
    _, check, fields = STALE[kind]
    monkeypatch.setattr(ledger_module, check, lambda *_: None)
    (record,) = await jobs.run(stale(tmp_path, fields))
    assert record.state == DONE


async def test_a_shared_lock_does_not_overtake_another(jobs: Scheduler, tmp_path: Path) -> None:
    """Two intention locks on a repository live side by side, whichever effect comes first (P2)."""

    def under(token: int, uid: str) -> participant.Effect:
        sent = create_disk(tmp_path, f"{token}/1/1", uid)
        sent.locks.append(lock_pb2.LockToken(object="repositories/r", fencing_token=token, mode=lock_pb2.LOCK_MODE_IX))
        return sent

    records = [*await jobs.run(under(6, "d6")), *await jobs.run(under(5, "d5"))]
    assert [record.state for record in records] == [DONE, DONE]


async def test_a_settlement_of_an_old_scheduler_is_refused(jobs: Scheduler, tmp_path: Path) -> None:
    """The epoch is checked there too, and raised there too."""
    await jobs.settle(settlement(create_disk(tmp_path), epoch=7))
    with pytest.raises(StaleEpoch):
        await jobs.agent.runner.settle(settlement(create_disk(tmp_path, "2/1/2"), epoch=6))
    (record,) = await jobs.run(create_disk(tmp_path, "2/1/2", epoch=6))
    assert error_of(record).reason == "STALE_EPOCH"


async def test_an_unknown_action_is_refused_with_its_name(jobs: Scheduler) -> None:
    """A message that no action takes is a clean failure."""
    (record,) = await jobs.run(effect("6/1/1", agent_service_pb2.GetHostRequest()))
    assert (record.state, error_of(record).reason) == (FAILED, "UNSUPPORTED")
    assert "GetHostRequest" in record.error.message


async def test_full_lanes_hold_nobody_else_up(gated: Scheduler, gate: Gate, tmp_path: Path) -> None:
    """With every place for storage taken, guests, facts and settlements get through."""
    stuck = [create_disk(tmp_path, f"7/{number}/1", f"d{number}") for number in range(1, 20)]
    running = asyncio.ensure_future(gated.run(*stuck))
    await gate.begun.wait()
    kill = kill_guest_pb2.KillGuest(virtual_machine="virtualMachines/db", uid="m1")
    assert (await gated.run(effect("8/1/1", kill)))[0].state == DONE
    assert (await gated.agent.facts.look()).server == "servers/s1"
    assert (await gated.settle(settlement(stuck[18], stop=True))).state == ABORTED
    assert (await gated.settle(settlement(stuck[0], stop=True))).state == ABORTED
    gate.open.set()
    assert [record.state for record in (await running)[1:18]] == [DONE] * 17


async def test_a_defect_of_an_action_ends_in_a_record(tmp_path: Path) -> None:
    """An exception that nobody foresaw is cleaned up after by the mark, logged, and told as INTERNAL_ERROR."""

    async def broken(message: Any, context: Any) -> Any:
        await CREATE_DISK.do(message, context)
        raise ZeroDivisionError

    name = CREATE_DISK.message.DESCRIPTOR.full_name
    halfway = {name: replace(CREATE_DISK, do=broken)}
    async with scheduler(tmp_path, halfway) as jobs:
        await jobs.run(create_repository(tmp_path))
        (record,) = await jobs.run(create_disk(tmp_path))
        assert record.state == DONE, "the image was whole, so by its mark the step is done"

    async def useless(message: Any, context: Any) -> Any:
        raise ZeroDivisionError

    async with scheduler(tmp_path, {name: replace(CREATE_DISK, do=useless)}) as jobs:
        (record,) = await jobs.run(create_disk(tmp_path, "3/1/1", "d2"))
        assert (record.state, error_of(record).reason) == (FAILED, "INTERNAL_ERROR")
    async with scheduler(tmp_path, {name: replace(CREATE_DISK, do=useless, probe=useless)}) as jobs:
        (record,) = await jobs.run(create_disk(tmp_path, "3/2/1", "d3"))
        assert record.state == RESIDUE
        assert "may have left something" in record.residue[0]


async def test_what_is_left_behind_is_told(tmp_path: Path) -> None:
    """An action that cannot clean up says so, and the record lists it."""

    async def messy(message: Any, context: Any) -> Any:
        raise LeftBehindError(InternalError("the trash is stuck"), ["disks/d1.raw"])

    async with scheduler(tmp_path, {CREATE_DISK.message.DESCRIPTOR.full_name: replace(CREATE_DISK, do=messy)}) as jobs:
        (record,) = await jobs.run(create_disk(tmp_path))
    assert (record.state, list(record.residue)) == (RESIDUE, ["disks/d1.raw"])


async def test_a_failure_keeps_its_kind(tmp_path: Path) -> None:
    """The error that an action raises is the error that the scheduler reads."""

    async def contended(message: Any, context: Any) -> Any:
        raise Contended("later", resource="virtualDisks/d1", retry_after=3.0)

    name = CREATE_DISK.message.DESCRIPTOR.full_name
    async with scheduler(tmp_path, {name: replace(CREATE_DISK, do=contended)}) as jobs:
        (record,) = await jobs.run(create_disk(tmp_path))
    error = error_of(record)
    assert (error.reason, error.resource, error.retry_after) == ("CONTENDED", "virtualDisks/d1", 3.0)


async def test_what_an_agent_left_running_is_resolved(tmp_path: Path, gate: Gate) -> None:
    """An agent that stops in mid-action records nothing; the next one finds nothing made and says so."""
    sent = create_disk(tmp_path)
    async with scheduler(tmp_path, gate.catalogue) as jobs:
        await jobs.run(create_repository(tmp_path))
        running = asyncio.ensure_future(jobs.run(sent))
        await gate.begun.wait()
        running.cancel()
        await asyncio.wait([running])
    async with scheduler(tmp_path) as jobs:
        (record,) = await jobs.run(sent)
        assert (record.state, error_of(record).reason) == (FAILED, "UNAVAILABLE")
        assert (await jobs.run(create_disk(tmp_path, attempt=2)))[0].state == DONE


class Doubt:
    """A commit hook that fails when armed: before the commit, or after it was made durable."""

    def __init__(self, *, durable: bool) -> None:
        """Fail after the commit if `durable`."""
        self.armed = 0
        self._durable = durable

    def __call__(self, sql: sqlite3.Connection) -> None:
        """Commit, or not."""
        failing, self.armed = self.armed == 1, max(0, self.armed - 1)
        if self._durable or not failing:
            sql.execute("COMMIT")
        if failing:
            raise sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("commit", [1, 2])
async def test_a_commit_in_doubt_does_nothing_twice(tmp_path: Path, gate: Gate, durable: bool, commit: int) -> None:
    """Acceptance or result may be durable or not when the disk fails: asked again, the effect was done once."""
    doubt = Doubt(durable=durable)
    gate.open.set()
    async with scheduler(tmp_path, gate.catalogue, commit_hook=doubt) as jobs:
        await jobs.run(create_repository(tmp_path))
        doubt.armed = commit
        with contextlib.suppress(grpc.aio.AioRpcError):  # a failed acceptance breaks the stream off
            await jobs.run(create_disk(tmp_path))
        (record,) = await jobs.run(create_disk(tmp_path))
        assert record.state == DONE
        assert await jobs.settle(settlement(create_disk(tmp_path))) == record
    assert gate.calls == 1
    with sqlite3.connect(tmp_path / "state" / "ledger.db") as sql:
        assert sql.execute("SELECT count(*) FROM ledger WHERE step_key = '2/1/1'").fetchone() == (1,)


async def test_every_action_is_listed(jobs: Scheduler) -> None:
    """The list has every action of the catalogue, by its message."""
    answer = await jobs.stub.ListActions(participant.ListActionsRequest())
    names = [action.message_type.rpartition(".")[2] for action in answer.actions]
    assert names == sorted(names)
    assert {"StartGuest", "CreateDiskFile", "JoinCluster", "ClaimHost"} <= set(names)
    assert all(action.supported for action in answer.actions)


async def test_a_closed_agent_looks_at_its_simulated_links_no_more(tmp_path: Path) -> None:
    """Else it would tell of a host that is another agent's by then, or whose folder is gone."""
    async with scheduler(tmp_path) as jobs:
        network = jobs.agent.host.network
        assert isinstance(network, SimNetwork)
        timer = network._timer
        assert timer is not None
        assert not timer.cancelled()
    assert network._timer is not None
    assert network._timer.cancelled()
