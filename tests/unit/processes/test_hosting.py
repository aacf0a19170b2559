"""What a process says while it is hosted."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest

from virtyard.processes.hosting import say

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")
def test_a_full_disk_under_the_log_ends_no_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An agent once died of it right after it had begun to serve."""
    full = FULL.open("w")
    monkeypatch.setattr(sys, "stdout", full)
    say("it serves")
    assert "not told: it serves: [Errno 28]" in caplog.text
    with suppress(OSError):
        full.close()


def test_whoever_has_hung_up_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose reader is gone ends quietly, as others do; see `virtyard_client.main`."""

    def hung_up(_line: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(sys.stdout, "write", hung_up)
    with pytest.raises(BrokenPipeError):
        say("it serves")
