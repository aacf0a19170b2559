"""Stale effects at the ports of an agent and of the inventory, over mutual TLS: refused, and nothing is changed.

Each is shown twice: with the check, and with the check switched off, where it does what it should never have done.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.participant.ports import DONE, KINDS, STALE, Port, opened
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.runtime.pki import Authority
from virtyard.runtime.status import from_status

FAILED = participant.EFFECT_STATE_FAILED
CASES = [(port, kind) for port in KINDS for kind in STALE if (port, kind) != ("agent", "generation")]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the certificates of the scheduler and of both participants."""
    folder = tmp_path_factory.mktemp("pki")
    authority = Authority.create(folder / "ca", "virtyard.test")
    for identity in ("service/jobs", *(kind.identity for kind in KINDS.values())):
        authority.issue(identity, folder / identity, hosts=["127.0.0.1"])
    return folder


async def refused(port: Port, kind: str) -> None:
    """Send an effect that is stale, and see that it is refused without a trace."""
    before = port.picture()
    late = port.late(kind)
    follower = participant.Effect()
    follower.CopyFrom(late)
    follower.step_key, follower.after = "9/9/9", late.step_key
    for record in await port.send(late, follower):
        assert (record.state, from_status(record.error).reason) == (FAILED, STALE[kind][0])
    assert port.picture() == before


@pytest.mark.parametrize(("name", "kind"), CASES)
async def test_a_stale_effect_is_refused_and_changes_nothing(tmp_path: Path, pki: Path, name: str, kind: str) -> None:
    """The ledger, the highest epochs and tokens, the objects and the files are the same to the byte."""
    async with opened(KINDS[name], tmp_path, pki) as port:
        await refused(port, kind)


@pytest.mark.parametrize(("name", "kind"), CASES)
async def test_without_its_check_a_stale_effect_acts(
    tmp_path: Path, pki: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    """Each check is what refuses: with it switched off the proof above fails, and the effect leaves its marks."""
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731 - stands in for the check
    async with opened(KINDS[name], tmp_path, pki) as port:
        before = port.picture()
        monkeypatch.setattr(port.kind.checks, STALE[kind][1], nothing)
        with pytest.raises(AssertionError):
            await refused(port, kind)
        (record,) = await port.send(port.late(kind))
        assert record.state == DONE
        assert port.picture() != before
