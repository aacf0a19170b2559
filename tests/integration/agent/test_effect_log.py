"""The effect log: what was really made on a host, and made twice where the ledger does not answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.killing import made_twice
from tests.integration.agent.scenario import (
    DONE,
    MIB,
    Scheduler,
    create_disk,
    create_repository,
    effect,
    scheduler,
    undoing,
)
from virtyard.agent.actions.catalogue import load
from virtyard.agent.ledger import Ledger
from virtyard.agent.model import Decision, Verdict
from virtyard.api.actions.v1 import kill_guest_pb2, start_guest_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.processes.effect_log import logging_makes


@pytest.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[Scheduler]:
    """A scheduler of an agent whose makes are logged, with the repository made."""
    async with scheduler(tmp_path, dict(logging_makes(load(), str(tmp_path / "effects")))) as jobs:
        await jobs.run(create_repository(tmp_path))
        yield jobs


def start_guest() -> participant.Effect:
    """The effect that starts a guest."""
    do = start_guest_pb2.StartGuest(virtual_machine="virtualMachines/db", uid="m1", cpus=1, memory_bytes=64 * MIB)
    return effect("3/1/1", do, undo=kill_guest_pb2.KillGuest(virtual_machine="virtualMachines/db", uid="m1"))


async def send_late_duplicates(jobs: Scheduler, folder: Path) -> None:
    """Make an image and a guest, undo both, and let the first messages come once more."""
    for sent in (create_disk(folder), start_guest()):
        for each in (sent, sent, undoing(sent), sent):
            (record,) = await jobs.run(each)
            assert record.state == DONE


async def test_a_late_duplicate_makes_nothing(jobs: Scheduler, tmp_path: Path) -> None:
    """The ledger answers: one repository, one image and one guest were made, each under its mark."""
    await send_late_duplicates(jobs, tmp_path)
    made = (tmp_path / "effects").read_text().splitlines()
    assert made == ["1/1/1 repository r1", "2/1/1 image d1", "3/1/1 guest m1"]
    assert made_twice(tmp_path / "effects") == []


async def test_without_the_ledgers_answer_it_is_made_twice(
    jobs: Scheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has no part in the ledger: one that lets a known key begin is found out by it."""

    def begin(_ledger: Ledger, _sql: Any, sent: participant.Effect, *_: Any) -> Decision:
        return Decision(effect=sent, verdict=Verdict.BEGIN)

    monkeypatch.setattr(Ledger, "_recorded", begin)
    await send_late_duplicates(jobs, tmp_path)
    assert made_twice(tmp_path / "effects") == ["2/1/1 image d1", "3/1/1 guest m1"]
