"""A process of which a vital task has failed does not serve on: it closes what it has, or ends as by a kill."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import asyncio
import sys
from virtyard.processes import hosting
from virtyard.runtime.configuration import Configuration
from virtyard.runtime.scope import TaskScope

hosting.GIVE_UP_SECONDS = 0.2


async def fail():
    raise ValueError("broken")


async def main(stop):
    async with TaskScope("tests") as tasks:
        tasks.start(fail(), name="worker", vital="vital" in sys.argv)
        if "hangs" in sys.argv:
            await asyncio.Event().wait()
        await asyncio.wait_for(stop.wait(), None if "vital" in sys.argv else 0.2)


sys.exit(hosting.run_process("tests", Configuration({}, None, {}), main))
"""


def ended(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a process of which a task fails, to its end."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, timeout=60, check=False
    )


def test_it_closes_what_it_has_and_ends_with_an_error() -> None:
    """The log says why; whoever keeps the process starts it again."""
    process = ended("vital")
    assert process.returncode == 1
    assert "a task of tests failed" in process.stderr
    assert "ValueError: broken" in process.stderr


def test_one_that_cannot_close_is_ended() -> None:
    """What is hung does not keep a useless process alive."""
    assert ended("vital", "hangs").returncode == os.EX_SOFTWARE


def test_without_a_vital_task_it_would_serve_on() -> None:
    """The same failure in another task leaves the process as it is: this one waits for a stop that nobody sends."""
    process = ended("other")
    assert "TimeoutError" in process.stderr
    assert "a task of tests failed" in process.stderr
