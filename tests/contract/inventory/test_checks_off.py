"""Each safety check is what refuses: with it switched off, the stale effect goes through."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.inventory.samples import (
    GIB,
    create,
    disk,
    effect,
    locked,
    machine,
    pool,
    repository,
    server,
    update,
)
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import lock_pb2
from virtyard.inventory import round as rounds
from virtyard.inventory.sqlite_store import SqliteStore

X = lock_pb2.LOCK_MODE_X


def changed(text: str) -> participant.Effect:
    """Return an effect that writes a description."""
    described = pool("p")
    described.description = text
    return effect("7/1/1", update(described, "description"), token=8)


def with_expected() -> participant.Effect:
    """Return an effect that was planned for another generation."""
    asked = changed("stale")
    asked.locks[0].fencing_token = 10
    asked.require.versions.add(object="serverPools/p", uid="uid-p", generation=99)
    return asked


STALE: list[tuple[str, participant.Effect]] = [
    ("check_epoch", effect("1/1/9", create(pool("q")), epoch=1)),
    ("check_tokens", changed("overtaken")),
    ("check_attempt", effect("1/1/3", create(pool("q")), epoch=2, attempt=1)),
    ("check_coverage", effect("1/1/4", create(pool("q")), epoch=2, locks=locked(("servers/s", X, 1)))),
    ("check_requirement", with_expected()),
    ("check_expected", effect("7/1/2", update(pool("p"), "labels"), token=10,
                              expected=[("serverPools/p", "uid-p", 7)])),
    ("check_memory", effect("1/1/5", create(machine("m", memory=2 * GIB, on="servers/s")), epoch=2,
                            reserve=[("servers/s", 2 * GIB)])),
    ("check_space", effect("1/1/6", create(disk("d", size=2 * GIB, where="repositories/r")), epoch=2)),
]  # fmt: skip


@pytest.mark.parametrize(("check", "asked"), STALE, ids=[check for check, _ in STALE])
@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
async def test_check_is_what_refuses(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, check: str, asked: participant.Effect, on: bool
) -> None:
    """The effect is refused with the check, and done without it."""
    before = [
        effect("1/1/1", create(pool("p")), create(server("s", memory=GIB)), create(repository("r", capacity=GIB)),
               epoch=2, token=9),
        effect("1/1/3", update(machine("none"), "description"), epoch=2, attempt=2),
    ]  # fmt: skip
    await store.execute(before)
    if not on:
        nothing: Callable[..., None] = lambda *_: None  # noqa: E731 - stands in for the check
        monkeypatch.setattr(rounds, check, nothing)
    (record,) = (await store.execute([asked])).records
    assert (record.state == participant.EFFECT_STATE_DONE) is not on
