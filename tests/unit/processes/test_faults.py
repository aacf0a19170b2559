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


@pytest.mark.parametrize("when", ["", "acted", "undo"])
def test_a_step_fails_when_the_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Before it acts, afterwards, or while it is undone, whatever its operation; never else, and no other step."""
    monkeypatch.setenv(faults.FAIL, str(tmp_path / "fail"))
    hook = faults.step_hook()
    assert hook is not None
    hook("12/3/1", when)
    (tmp_path / "fail").write_text(f"3/1 {when}".strip() + "\n4/1")
    for other in {"", "acted", "undo"} - {when}:
        hook("12/3/1", other)
    hook("12/13/1", when)
    for key, at in (("12/3/1", when), ("12/4/1", "")):
        with pytest.raises(WrongState):
            hook(key, at)


def test_a_moment_is_asked_for_while_the_process_runs_and_comes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transitions are noted; the file's moment is counted from when it was written, and the file goes with it."""
    came: list[int] = []
    monkeypatch.setenv(faults.MOMENTS, str(tmp_path / "jobs"))
    monkeypatch.setattr(os, "kill", lambda _, sent: came.append(sent))
    hook = faults.kill_hook()
    assert hook is not None
    order = tmp_path / "jobs.at"
    hook("jobs.Ck")
    for word, number in (("kill", signal.SIGKILL), ("stop", signal.SIGSTOP)):
        order.write_text(f"{word} jobs.Ck#2")
        hook("jobs.Ck")
        hook("jobs.C2")
        assert (came, order.exists()) == ([], True)
        hook("jobs.Ck")
        assert (came, order.exists()) == ([number], False)
        hook("jobs.Ck")
        hook("jobs.Ck")
        assert came == [number]
        came.clear()
    assert (tmp_path / "jobs.log").read_text().split()[:3] == ["jobs.Ck", "jobs.Ck", "jobs.C2"]


def test_a_moment_that_nobody_waits_for_any_more_does_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked may give up while the moment comes: then there is no signal, and the process goes on."""
    came: list[int] = []
    order = tmp_path / "jobs.at"
    monkeypatch.setenv(faults.MOMENTS, str(tmp_path / "jobs"))
    monkeypatch.setattr(os, "kill", lambda _, sent: came.append(sent))
    hook = faults.kill_hook()
    assert hook is not None
    read_text = Path.read_text

    def read_and_lose(path: Path) -> str:
        text = read_text(path)
        path.unlink()
        return text

    order.write_text("stop jobs.Ck")
    monkeypatch.setattr(Path, "read_text", read_and_lose)
    hook("jobs.Ck")
    assert (came, order.exists()) == ([], False)
