"""Effects on the inventory: carried out once, all or nothing, and refused when stale."""

from __future__ import annotations

import pytest

from tests.contract.inventory.conftest import Dump
from tests.contract.inventory.samples import (
    GIB,
    create,
    delete,
    disk,
    effect,
    locked,
    machine,
    pool,
    repository,
    results,
    server,
    undo,
    update,
    vnic,
)
from tests.fakes.clock import FakeClock
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import lock_pb2
from virtyard.inventory.sqlite_store import SqliteStore
from virtyard.inventory.writes import Writes
from virtyard.kernel.errors import NotFound, StaleEpoch
from virtyard.kernel.view import View, select
from virtyard.runtime.database import Database
from virtyard.runtime.status import from_status

DONE = participant.EFFECT_STATE_DONE
FAILED = participant.EFFECT_STATE_FAILED
NOT_BEGUN = participant.EFFECT_STATE_NOT_BEGUN
X = lock_pb2.LOCK_MODE_X
IX = lock_pb2.LOCK_MODE_IX


async def run(store: SqliteStore, *effects: participant.Effect) -> list[participant.EffectRecord]:
    """Return the records of one round."""
    return list((await store.execute(effects)).records)


async def done(store: SqliteStore, *effects: participant.Effect) -> None:
    """Carry out effects that must succeed."""
    for record in await run(store, *effects):
        assert record.state == DONE, record


def reason(record: participant.EffectRecord) -> str:
    """Return why an effect failed."""
    return from_status(record.error).reason


async def test_create_gives_times_and_generation(store: SqliteStore, clock: FakeClock) -> None:
    """A created object has generation 1, an etag and the time of the inventory's clock."""
    (record,) = await run(store, effect("1/1/1", create(pool("a"))))
    (made,) = results(record)
    assert (record.state, record.changed, record.ledger_sequence) == (DONE, True, 1)
    assert (made.generation, made.uid, bool(made.etag)) == (1, "uid-a", True)
    assert (
        made.create_time.ToDatetime(clock.now().tzinfo)
        == clock.now()
        == made.update_time.ToDatetime(clock.now().tzinfo)
    )
    assert await store.get("serverPools/a") == made


async def test_create_of_a_taken_name_is_refused(store: SqliteStore) -> None:
    """A name that is taken fails with ALREADY_EXISTS, and nothing of the effect is kept."""
    await done(store, effect("1/1/1", create(pool("a"))))
    (record,) = await run(store, effect("2/1/1", create(server("s")), create(pool("a", uid="other"))))
    assert (record.state, reason(record)) == (FAILED, "ALREADY_EXISTS")
    with pytest.raises(NotFound):
        await store.get("servers/s")


async def test_update_changes_masked_fields_only(store: SqliteStore) -> None:
    """An update takes over the masked fields, raises the generation by one and gives another etag."""
    await done(store, effect("1/1/1", create(machine("m", memory=GIB))))
    before = await store.get("virtualMachines/m")
    changed = machine("m", memory=2 * GIB)
    changed.display_name = "renamed"
    (record,) = await run(store, effect("2/1/1", update(changed, "display_name")))
    (after,) = results(record)
    assert (after.display_name, after.memory_bytes, after.generation) == ("renamed", GIB, 2)
    assert after.etag != before.etag


async def test_two_writes_to_an_object_raise_its_generation_once(store: SqliteStore) -> None:
    """The generation counts effects, not the writes in them."""
    await done(store, effect("1/1/1", create(pool("a"))))
    writes = [update(pool("a", uid="x"), "display_name"), update(pool("a"), "description")]
    changed = pool("a")
    changed.display_name = "b"
    changed.description = "c"
    writes = [update(changed, "display_name"), update(changed, "description")]
    (record,) = await run(store, effect("2/1/1", *writes))
    assert results(record)[0].generation == 2


async def test_update_that_changes_nothing_says_so(store: SqliteStore) -> None:
    """Where the wanted state is there already, nothing is stored and `changed` is false."""
    await done(store, effect("1/1/1", create(pool("a"))))
    (record,) = await run(store, effect("2/1/1", update(pool("a"), "display_name")))
    assert (record.state, record.changed, results(record)[0].generation) == (DONE, False, 1)


@pytest.mark.parametrize(
    "path", ["name", "uid", "generation", "etag", "servers", "activity", "nonsense", "state.x", ""]
)
async def test_update_of_a_field_that_is_kept_is_refused(store: SqliteStore, path: str) -> None:
    """Fields that the inventory keeps, projections and unknown paths are refused by name."""
    await done(store, effect("1/1/1", create(pool("a"))))
    (record,) = await run(store, effect("2/1/1", update(pool("a"), *filter(None, [path]))))
    error = from_status(record.error)
    assert error.reason == "INVALID_REQUEST"
    assert error.violations[0].field == "do.writes[0].update.update_mask"


async def test_delete_leaves_a_tombstone_that_a_new_object_replaces(store: SqliteStore) -> None:
    """A deleted object is gone, and its name can be used for another one that starts at generation 1."""
    await done(store, effect("1/1/1", create(pool("a"))), effect("2/1/1", delete("serverPools/a")))
    with pytest.raises(NotFound):
        await store.get("serverPools/a")
    await done(store, effect("3/1/1", create(pool("a", uid="new"))))
    assert (await store.get("serverPools/a")).generation == 1


async def test_same_key_again_gives_the_recorded_result(store: SqliteStore, dump: Dump) -> None:
    """A repeated effect is answered from the ledger and changes nothing."""
    asked = effect("1/1/1", create(pool("a")))
    (first,) = await run(store, asked)
    before = await dump()
    (second, third) = await run(store, asked, asked)
    assert first == second == third
    assert await dump() == before


async def test_same_key_twice_in_a_round_is_done_once(store: SqliteStore) -> None:
    """The ledger answers within a round too."""
    asked = effect("1/1/1", create(pool("a")))
    first, second = await run(store, asked, asked)
    assert first == second
    assert first.state == DONE


async def test_another_payload_under_a_key_is_refused(store: SqliteStore, dump: Dump) -> None:
    """PAYLOAD_MISMATCH leaves the ledger as it was."""
    await done(store, effect("1/1/1", create(pool("a"))))
    before = await dump()
    (record,) = await run(store, effect("1/1/1", create(pool("b"))))
    assert (record.state, reason(record)) == (FAILED, "PAYLOAD_MISMATCH")
    assert await dump() == before


async def test_lower_epoch_is_refused(store: SqliteStore, dump: Dump) -> None:
    """A scheduler that was overtaken is refused, and nothing changes."""
    await done(store, effect("1/1/1", create(pool("a")), epoch=3))
    before = await dump()
    (record,) = await run(store, effect("1/1/2", create(pool("b")), epoch=2))
    assert (record.state, reason(record)) == (FAILED, "STALE_EPOCH")
    assert await dump() == before


async def test_overtaken_token_is_refused(store: SqliteStore, dump: Dump) -> None:
    """A token that a later grant in a conflicting mode overtook is refused, and nothing changes."""
    await done(store, effect("2/1/1", create(pool("a")), token=9))
    before = await dump()
    (record,) = await run(store, effect("1/1/1", update(pool("a"), "description"), token=8))
    assert (record.state, reason(record)) == (FAILED, "STALE_TOKEN")
    assert await dump() == before


async def test_token_of_a_compatible_holder_does_not_refuse(store: SqliteStore) -> None:
    """Two operations that hold IX on a pool at once do not refuse each other, whoever comes first (P2)."""
    later = locked(("serverPools/a", IX, 6), ("servers/b", X, 6))
    earlier = locked(("serverPools/a", IX, 5), ("servers/c", X, 5))
    await done(store, effect("2/1/1", create(server("b")), locks=later))
    await done(store, effect("1/1/1", create(server("c")), locks=earlier))


async def test_old_attempt_is_superseded(store: SqliteStore, dump: Dump) -> None:
    """An attempt below the highest in the ledger is refused, and nothing changes."""
    (record,) = await run(store, effect("1/1/1", delete("serverPools/a"), attempt=2))
    assert reason(record) == "NOT_FOUND"
    before = await dump()
    (record,) = await run(store, effect("1/1/1", delete("serverPools/a"), attempt=1))
    assert (record.state, reason(record)) == (FAILED, "SUPERSEDED")
    assert await dump() == before


async def test_effect_without_exclusive_lock_is_refused(store: SqliteStore) -> None:
    """The target must be covered by X on itself or on an ancestor."""
    bare = effect("1/1/1", create(pool("a")), locks=locked(("serverPools/a", IX, 1)))
    (record,) = await run(store, bare)
    assert record.state == FAILED
    covered = effect("1/1/2", create(server("s")), locks=locked(("serverPools/a", X, 1)))
    await done(store, covered)


@pytest.mark.parametrize(
    "expected",
    [
        ("serverPools/a", "other", 1),
        ("serverPools/a", "uid-a", 7),
        ("serverPools/a", "", 0),
        ("serverPools/b", "uid-b", 1),
    ],
)
async def test_another_version_than_expected_is_refused(store: SqliteStore, expected: tuple[str, str, int]) -> None:
    """An effect on another object, or another generation of it, than was planned for fails."""
    await done(store, effect("1/1/1", create(pool("a"))))
    (record,) = await run(store, effect("2/1/1", update(pool("a"), "description"), expected=[expected]))
    assert (record.state, reason(record)) == (FAILED, "GENERATION_MISMATCH")


async def test_own_writes_do_not_count_as_another_version(store: SqliteStore) -> None:
    """A generation that the operation raised itself is accepted with the one that was pinned."""
    await done(store, effect("1/1/1", create(pool("a"))))
    changed = pool("a")
    changed.description = "x"
    pinned = ("serverPools/a", "uid-a", 1)
    await done(store, effect("2/1/1", update(changed, "description"), expected=[pinned]))
    changed.description = "y"
    await done(store, effect("2/1/2", update(changed, "description"), expected=[pinned]))
    (record,) = await run(store, effect("3/1/1", update(changed, "labels"), expected=[pinned]))
    assert reason(record) == "GENERATION_MISMATCH"


async def test_requirement_notices_new_members(store: SqliteStore) -> None:
    """What a plan read is read again in the effect's transaction: a new member of the pool refuses it (P4)."""
    await done(store, effect("1/1/1", create(pool("a"))), effect("1/1/2", create(server("s", pool="serverPools/a"))))
    reading = await store.view([select("serverPools/a", "servers@server_pool"), select("virtualMachines/new")])
    required = View(reading.objects, [select("serverPools/a", "servers@server_pool"), select("virtualMachines/new")])
    first = effect("2/1/1", update(pool("a"), "description"))
    first.require.CopyFrom(required.requirement())
    await done(store, first)
    await done(store, effect("3/1/1", create(server("t", pool="serverPools/a"))))
    second = effect("4/1/1", update(pool("a"), "description"))
    second.require.CopyFrom(required.requirement())
    (record,) = await run(store, second)
    error = from_status(record.error)
    assert (error.reason, error.metadata["changed"]) == ("GENERATION_MISMATCH", "servers/t")


async def test_requirement_notices_a_name_that_was_taken(store: SqliteStore) -> None:
    """A name that was free when the plan was made must still be free."""
    required = View([], [select("virtualMachines/m")]).requirement()
    await done(store, effect("1/1/1", create(machine("m"))))
    asked = effect("2/1/1", create(pool("a")))
    asked.require.CopyFrom(required)
    (record,) = await run(store, asked)
    assert reason(record) == "GENERATION_MISMATCH"


async def test_a_changed_read_set_is_what_came_of_the_attempt(store: SqliteStore, dump: Dump) -> None:
    """It is recorded: sent again after the new member has left, the attempt is not done after all (P4, P8)."""
    await done(store, effect("1/1/1", create(pool("a"))))
    selections = [select("serverPools/a", "servers@server_pool")]
    asked = effect("2/1/1", update(pool("a"), "description"))
    asked.require.CopyFrom(View((await store.view(selections)).objects, selections).requirement())
    follower = effect("2/1/2", create(pool("b")), after="2/1/1")
    await done(store, effect("3/1/1", create(server("s", pool="serverPools/a"))))
    first = await run(store, asked, follower)
    assert (first[0].state, reason(first[0]), first[1].state) == (FAILED, "GENERATION_MISMATCH", NOT_BEGUN)
    await done(store, effect("4/1/1", delete("servers/s"), token=2))
    before = await dump()
    again = await run(store, asked, follower)
    assert [(record.state, record.ledger_sequence) for record in again] == [
        (record.state, record.ledger_sequence) for record in first
    ]
    assert await dump() == before


async def test_failure_refuses_what_was_to_follow(store: SqliteStore) -> None:
    """The effects after a failed one are never begun, durably, and others in the round are not concerned."""
    first = effect("1/1/1", delete("serverPools/none"))
    second = effect("1/1/2", create(pool("b")), after="1/1/1")
    third = effect("1/1/3", create(pool("c")), after="1/1/2")
    other = effect("2/1/1", create(pool("d")))
    records = await run(store, first, second, third, other)
    assert [record.state for record in records] == [FAILED, NOT_BEGUN, NOT_BEGUN, DONE]
    again = await run(store, first, second, third, other)
    assert [record.state for record in again] == [FAILED, NOT_BEGUN, NOT_BEGUN, DONE]
    (late,) = await run(store, effect("1/1/2", create(pool("b"))))
    assert (late.state, reason(late)) == (NOT_BEGUN, "KEY_REFUSED")


async def test_refusal_refuses_what_was_to_follow_without_a_trace(store: SqliteStore, dump: Dump) -> None:
    """What follows a stale effect is refused as it is, and the ledger stays as it was."""
    await done(store, effect("2/1/1", create(pool("a")), token=9))
    before = await dump()
    stale = effect("1/1/1", update(pool("a"), "description"), token=8)
    records = await run(store, stale, effect("1/1/2", create(pool("b")), after="1/1/1"))
    assert [reason(record) for record in records] == ["STALE_TOKEN", "STALE_TOKEN"]
    assert await dump() == before


async def test_settled_key_is_refused_for_ever(store: SqliteStore) -> None:
    """A step that never began is refused after it was settled, however late it comes (P1)."""
    asked = participant.SettleRequest(step_key="1/1/1", phase=participant.PHASE_DO, attempt=1, epoch=1)
    assert (await store.settle(asked)).state == NOT_BEGUN
    (record,) = await run(store, effect("1/1/1", create(pool("a"))))
    assert (record.state, reason(record)) == (NOT_BEGUN, "KEY_REFUSED")
    with pytest.raises(NotFound):
        await store.get("serverPools/a")


async def test_settle_gives_the_recorded_result(store: SqliteStore) -> None:
    """A step that was done is settled with its result, and a lower epoch may not settle."""
    (record,) = await run(store, effect("1/1/1", create(pool("a")), epoch=2))
    asked = participant.SettleRequest(step_key="1/1/1", phase=participant.PHASE_DO, attempt=1, epoch=2)
    assert await store.settle(asked) == record
    asked.epoch = 1
    with pytest.raises(StaleEpoch):
        await store.settle(asked)


async def test_settle_with_a_higher_epoch_refuses_the_old_scheduler(store: SqliteStore) -> None:
    """Adoption settles with its epoch, after which the old one is refused."""
    asked = participant.SettleRequest(step_key="1/1/1", phase=participant.PHASE_DO, attempt=1, epoch=5)
    await store.settle(asked)
    (record,) = await run(store, effect("1/1/2", create(pool("a")), epoch=4))
    assert reason(record) == "STALE_EPOCH"


async def test_undo_of_create_removes_the_object(store: SqliteStore) -> None:
    """Reverting a create leaves nothing visible; doing it twice is a success."""
    asked = effect("1/1/1", create(pool("a")), create(server("s", pool="serverPools/a")))
    await done(store, asked, undo(asked), undo(asked, attempt=2))
    for name in ("serverPools/a", "servers/s"):
        with pytest.raises(NotFound):
            await store.get(name)


async def test_undo_of_update_restores_the_masked_fields(store: SqliteStore) -> None:
    """Reverting an update puts the prior values back, with a higher generation."""
    original = machine("m")
    original.labels["a"] = "1"
    original.placement.process_id = 7
    await done(store, effect("1/1/1", create(original)))
    changed = machine("m", memory=5 * GIB)
    changed.labels["b"] = "2"
    asked = effect("2/1/1", update(changed, "memory_bytes", "labels", "placement"))
    await done(store, asked)
    now = await store.get("virtualMachines/m")
    assert (now.memory_bytes, dict(now.labels), now.HasField("placement")) == (5 * GIB, {"b": "2"}, False)
    await done(store, undo(asked))
    now = await store.get("virtualMachines/m")
    assert (now.memory_bytes, dict(now.labels), now.placement.process_id) == (GIB, {"a": "1"}, 7)
    assert now.generation == 3


async def test_undo_of_delete_restores_the_same_uid_with_a_higher_generation(store: SqliteStore) -> None:
    """Reverting a delete brings the same object back, relations and report included (P9)."""
    await done(
        store,
        effect("1/1/1", create(pool("a"))),
        effect("1/1/2", create(server("s", pool="serverPools/a", memory=GIB))),
    )
    before = await store.get("servers/s")
    asked = effect("2/1/1", delete("servers/s"))
    await done(store, asked)
    assert list((await store.get("serverPools/a")).servers) == []
    await done(store, undo(asked))
    after = await store.get("servers/s")
    assert (after.uid, after.create_time, after.observed) == (before.uid, before.create_time, before.observed)
    assert after.generation > before.generation
    assert list((await store.get("serverPools/a")).servers) == ["servers/s"]


async def test_undo_of_a_replacement_restores_the_first_object(store: SqliteStore) -> None:
    """An object that was removed and made anew under its name comes back with its uid and a higher generation."""
    await done(store, effect("1/1/1", create(pool("a"))))
    described = pool("a")
    for turn in range(4):
        described.description = str(turn)
        await done(store, effect(f"1/2/{turn}", update(described, "description")))
    removes, makes = effect("2/1/1", delete("serverPools/a")), effect("2/1/2", create(pool("a", uid="other")))
    await done(store, removes, makes, undo(makes), undo(removes))
    after = await store.get("serverPools/a")
    assert (after.uid, after.description) == ("uid-a", "3")
    assert after.generation > 5


async def test_undo_of_nothing_is_success(store: SqliteStore) -> None:
    """A step that never was done, or failed, has nothing to revert (P10)."""
    never = effect("1/1/1", create(pool("a")))
    failed = effect("1/1/2", delete("serverPools/none"))
    await run(store, failed)
    for record in await run(store, undo(never), undo(failed)):
        assert (record.state, record.changed) == (DONE, False)


async def test_undo_keeps_off_what_another_operation_wrote(store: SqliteStore) -> None:
    """Undo removes only what carries its operation's mark."""
    asked = effect("1/1/1", create(pool("a")))
    changed = pool("a")
    changed.description = "theirs"
    await done(store, asked, effect("2/1/1", update(changed, "description"), token=2))
    await done(store, undo_with(asked, token=3))
    assert (await store.get("serverPools/a")).description == "theirs"


async def test_undo_does_not_remove_what_others_refer_to_since(store: SqliteStore, clock: FakeClock) -> None:
    """A pool whose locks were broken, and into which somebody has put a server: it stays until that is out again."""
    asked = effect("1/1/1", create(pool("a")))
    await done(store, effect("2/1/1", create(server("s"))), asked)
    clock.advance(1)
    await done(store, effect("2/1/2", update(server("s", pool="serverPools/a"), "server_pool"), token=2))
    (record,) = await run(store, undo_with(asked, token=3))
    error = from_status(record.error)
    assert (error.reason, error.resource) == ("WRONG_STATE", "serverPools/a")
    assert "servers/s has come to refer to it" in error.message
    assert (await store.get("servers/s")).server_pool == (await store.get("serverPools/a")).name
    await done(store, effect("2/1/3", update(server("s"), "server_pool"), token=4))
    again = undo_with(asked, token=5)
    again.attempt = 2
    await done(store, again)
    with pytest.raises(NotFound):
        await store.get("serverPools/a")


def undo_with(asked: participant.Effect, *, token: int) -> participant.Effect:
    """Return the undo of an effect with a later token."""
    undoing = undo(asked)
    undoing.locks[0].fencing_token = token
    return undoing


async def test_memory_is_not_given_twice(store: SqliteStore) -> None:
    """Machines placed on a server must fit into its memory; the refusal names the numbers (P4)."""
    await done(store, effect("1/1/1", create(server("s", memory=3 * GIB))))
    for name in ("a", "b"):
        await done(store, effect(f"1/2/{name == 'a':d}", create(machine(name, memory=GIB))))
    placed = [machine("a", memory=GIB, on="servers/s"), machine("b", memory=GIB, on="servers/s")]
    for number, one in enumerate(placed, 2):
        await done(store, effect(f"{number}/1/1", update(one, "server"), reserve=[("servers/s", GIB)]))
    assert (await store.get("servers/s")).reserved_memory_bytes == 2 * GIB
    third = effect("4/1/1", create(machine("c", memory=2 * GIB, on="servers/s")), reserve=[("servers/s", 2 * GIB)])
    (record,) = await run(store, third)
    error = from_status(record.error)
    assert (error.reason, error.resource) == ("CAPACITY_EXHAUSTED", "servers/s")
    assert error.metadata == {"capacity_bytes": str(3 * GIB), "free_bytes": str(GIB), "asked_bytes": str(2 * GIB)}
    assert (await store.get("servers/s")).reserved_memory_bytes == 2 * GIB


async def test_disks_must_fit_into_their_repository(store: SqliteStore) -> None:
    """A disk beyond the repository's capacity is refused, and one that fits is counted."""
    await done(store, effect("1/1/1", create(repository("r", capacity=3 * GIB))))
    await done(store, effect("1/1/2", create(disk("d", size=2 * GIB, where="repositories/r"))))
    (record,) = await run(store, effect("2/1/1", create(disk("e", size=2 * GIB, where="repositories/r"))))
    assert reason(record) == "CAPACITY_EXHAUSTED"
    assert (await store.get("repositories/r")).provisioned_bytes == 2 * GIB
    await done(store, effect("3/1/1", delete("virtualDisks/d")))
    assert (await store.get("repositories/r")).provisioned_bytes == 0


async def test_machine_shows_its_disks_and_cards_in_order(store: SqliteStore) -> None:
    """Disks and cards are listed by their position, whatever their names."""
    owner = "virtualMachines/m"
    writes = [create(disk("a", machine=owner, position=1)), create(disk("b", machine=owner, position=0))]
    cards = [create(vnic("y", of=owner, position=0)), create(vnic("x", of=owner, position=1))]
    await done(store, effect("1/1/1", create(machine("m")), *writes, *cards))
    found = await store.get(owner)
    assert list(found.virtual_disks) == ["virtualDisks/b", "virtualDisks/a"]
    assert list(found.vnics) == ["vnics/y", "vnics/x"]


async def test_round_is_one_commit(store: SqliteStore, database: Database) -> None:
    """However many effects come together, they cost one commit."""
    before = database.commits
    await done(store, *(effect(f"{n}/1/1", create(pool(f"p{n}"))) for n in range(1, 9)))
    assert database.commits == before + 1


async def test_unknown_effect_is_unsupported(store: SqliteStore) -> None:
    """An action of a host is not for the inventory."""
    asked = effect("1/1/1", create(pool("a")))
    asked.do.type_url = "type.googleapis.com/virtyard.api.actions.v1.StartGuest"
    (record,) = await run(store, asked)
    assert reason(record) == "UNSUPPORTED"


@pytest.mark.parametrize("key", ["", "1/1", "a/b/c", "1/1/1/1"])
async def test_malformed_key_is_refused_without_a_trace(store: SqliteStore, dump: Dump, key: str) -> None:
    """A step key that is none is refused, and the ledger stays as it was."""
    before = await dump()
    (record,) = await run(store, effect(key, create(pool("a"))))
    assert reason(record) == "INVALID_REQUEST"
    assert await dump() == before


async def test_defect_in_an_effect_fails_that_effect_only(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody expected is recorded as a defect with nothing of it kept, and those beside it are done."""
    original = Writes.store

    def store_or_break(writes: Writes) -> bool:
        original(writes)
        if "serverPools/bad" in writes.names:
            raise RuntimeError("broken")
        return True

    monkeypatch.setattr(Writes, "store", store_or_break)
    records = await run(store, effect("1/1/1", create(pool("bad"))), effect("2/1/1", create(pool("good"))))
    assert [record.state for record in records] == [FAILED, DONE]
    assert reason(records[0]) == "INTERNAL_ERROR"
    assert "1/1/1" in caplog.text
    with pytest.raises(NotFound):
        await store.get("serverPools/bad")
