"""The claim on a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtyard.agent.claim import HostClaim
from virtyard.kernel.errors import WrongState


def test_a_claim_outlives_the_agent(tmp_path: Path) -> None:
    """The host's id and owner are the same for the next agent."""
    claim = HostClaim(tmp_path / "agent" / "claim.json")
    assert claim.take("yard-a", "1/1/1")
    again = HostClaim(tmp_path / "agent" / "claim.json")
    assert (again.host_id, again.owner_id, again.mark) == (claim.host_id, "yard-a", "1/1/1")


def test_a_host_has_one_owner(tmp_path: Path) -> None:
    """The owner may claim again; another is refused by the owner's id; a foreign mark releases nothing."""
    claim = HostClaim(tmp_path / "claim.json")
    assert claim.take("yard-a", "1/1/1")
    assert not claim.take("yard-a", "2/1/1")
    with pytest.raises(WrongState, match="yard-a"):
        claim.take("yard-b", "3/1/1")
    assert not claim.release("yard-b")
    assert not claim.release("yard-a", "2/1/1")
    assert claim.release("yard-a", "1/1/1")
    assert claim.take("yard-b", "3/1/1")
