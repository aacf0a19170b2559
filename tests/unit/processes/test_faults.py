"""The moments of faults: a transition, perhaps as it concerns one step, perhaps its second time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from virtyard.kernel.errors import WrongState
from virtyard.processes import faults

HEARD = [
    "jobs.C2",
    "jobs.C2@1/1",
    "jobs.Ck",
    "jobs.Ck@13/1",
    "inventory.I",
    "inventory.I@7/3/1",
    "jobs.Ck",
    "jobs.Ck@3/1",
]


@pytest.mark.parametrize(
    ("variable", "moment", "heard", "number"),
    [
        (faults.KILL, "jobs.C2", 1, signal.SIGKILL),
        (faults.KILL, "jobs.Ck#2", 7, signal.SIGKILL),
        (faults.KILL, "jobs.Ck@3/1", 8, signal.SIGKILL),
        (faults.STOP, "inventory.I@3/1", 6, signal.SIGSTOP),
        (faults.KILL, "jobs.Ck@3/2", None, None),
    ],
)
def test_a_signal_comes_at_its_moment_and_at_no_other(
    monkeypatch: pytest.MonkeyPatch, variable: str, moment: str, heard: int | None, number: int | None
) -> None:
    """A step is told apart from others and from the transition alone; the number of its operation does not count."""
    came: list[tuple[int, int]] = []
    position = 0
    monkeypatch.setenv(variable, moment)
    monkeypatch.setattr(os, "kill", lambda pid, sent: came.append((position, sent)) if pid == os.getpid() else None)
    hook = faults.kill_hook()
    assert hook is not None
    for position, transition in enumerate(HEARD, 1):  # noqa: B007 - the signal's handler reads it
        hook(transition)
    assert came == ([] if heard is None else [(heard, number)])


@pytest.mark.parametrize(("written", "acted"), [("3/1", False), ("3/1 acted", True)])
def test_a_step_fails_when_the_file_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, acted: bool
) -> None:
    """Before it acts or afterwards, whatever its operation, and no other step does."""
    monkeypatch.setenv(faults.FAIL, str(tmp_path / "fail"))
    hook = faults.step_hook()
    assert hook is not None
    hook("12/3/1", acted)
    (tmp_path / "fail").write_text(written)
    hook("12/3/1", not acted)
    hook("12/13/1", acted)
    with pytest.raises(WrongState):
        hook("12/3/1", acted)
