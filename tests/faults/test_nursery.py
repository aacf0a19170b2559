"""The nursery tells how its processes ended, so that one which died by itself is never a riddle."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.site import until
from tests.faults.nursery import Nursery
from tests.torture.bugs import VARIABLE


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="vyn-", dir="/tmp") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def nursery(folder: Path) -> Iterator[Nursery]:
    """One nursery for all tests of this file, as it takes a second to load."""
    nursery = Nursery(folder)
    yield nursery
    nursery.close()


def ended(nursery: Nursery, pid: int) -> int:
    """Wait until a process has ended, and return its exit code."""
    (code,) = until(lambda: [code for code in (nursery.exit_code(pid),) if code is not None], 60.0, f"{pid} has ended")
    return code


def test_an_exit_code_is_kept(nursery: Nursery, folder: Path) -> None:
    """That of a command that succeeds, and of one that does not."""
    pids = [nursery.start(words, os.environ, folder / "log") for words in (["--version"], ["serve", "nothing"])]
    assert [ended(nursery, pid) for pid in pids] == [0, 2]


def test_a_signal_is_told_as_the_exit_code(nursery: Nursery, folder: Path) -> None:
    """Of one that is killed, wherever it is."""
    pid = nursery.start(["serve", "jobs", "--pki", str(folder)], os.environ, folder / "log")
    os.kill(pid, signal.SIGKILL)
    assert ended(nursery, pid) == -signal.SIGKILL


def test_an_error_that_nobody_caught_is_in_the_log(nursery: Nursery, folder: Path) -> None:
    """As the interpreter would tell it."""
    pid = nursery.start(["--version"], {**os.environ, VARIABLE: "no such bug"}, folder / "raised")
    assert ended(nursery, pid) == 1
    assert "KeyError: 'no such bug'" in (folder / "raised").read_text()
