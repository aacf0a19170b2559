"""The nursery tells how its processes ended, and the torture which of them did so by themselves, and why."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.site import Site, until
from tests.faults.nursery import Nursery
from tests.torture.bugs import VARIABLE
from tests.torture.deaths import Watch
from tools import processes
from virtyard.processes.site import prepare_authority

pytestmark = pytest.mark.timeout(300)
NO_ROOM = (4096, resource.RLIM_INFINITY)
ROOM = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


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


@pytest.fixture
def site(tmp_path: Path, nursery: Nursery) -> Iterator[Site]:
    """A site of which nothing is started, and which has no certificates."""
    site = Site(tmp_path / "site", "split")
    site.nursery = nursery
    yield site
    resource.prlimit(nursery.pid, resource.RLIMIT_FSIZE, ROOM)
    site.close()


async def watch_until(watch: Watch, condition: Callable[[], object]) -> None:
    """Watch until something is so."""
    over = asyncio.Event()
    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        tasks.create_task(watch.run(over))
        while not condition():
            await asyncio.sleep(0.01)
        over.set()


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


async def test_who_ends_by_itself_is_found_with_its_last_words_and_started_again(site: Site) -> None:
    """The lock service has no certificate here, which is nobody's fault of the torture."""
    site.start("locks", wait=False)
    first = site.record("locks")
    watch = Watch(site, ("locks",), set(), set())
    await watch_until(watch, lambda: watch.wrong and site.record("locks") != first)
    assert watch.wrong[0].startswith(f"locks (pid {first.pid}) ended by itself, with code 1:\n    virtyard locks: ")
    assert not watch.could_not_start


async def test_a_start_on_a_full_disk_is_refused_told_apart_and_tried_again(site: Site, nursery: Nursery) -> None:
    """Whoever keeps the process starts it until there is room; until then it says why not."""
    prepare_authority(site.folder / "pki")
    resource.prlimit(nursery.pid, resource.RLIMIT_FSIZE, NO_ROOM)
    site.start("locks", wait=False)
    first = site.record("locks")
    filled: set[processes.Record] = {first}
    watch = Watch(site, ("locks",), set(), filled)
    await watch_until(watch, lambda: site.record("locks") != first)
    (told,) = watch.could_not_start
    assert "locks.db cannot be opened: disk I/O error" in told
    resource.prlimit(nursery.pid, resource.RLIMIT_FSIZE, ROOM)
    await watch_until(watch, lambda: "serves on" in site.said("locks"))
