"""The demo when it does not run to its end: whatever it started is gone, whoever stops it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.site import ROOT, until
from tools import processes

DEMO = [sys.executable, "-m", "tools.demo"]


@pytest.fixture
def place() -> Iterator[Path]:
    """A place for a demo of its own."""
    with tempfile.TemporaryDirectory(prefix="vyd-", dir="/tmp") as folder:
        yield Path(folder) / "site"


def environment(place: Path) -> dict[str, str]:
    """Return the environment of a demo on simulated hosts."""
    return {**os.environ, "VIRTYARD_DEMO": str(place), "DRIVER": "sim", "KEEP": ""}


def wait_said(demo: subprocess.Popen[bytes], output: Path, words: str) -> None:
    """Wait until the demo says these words; if it ends before, what it did say is the failure."""
    until(lambda: words in output.read_text() or demo.poll() is not None, 60, f"the demo says {words!r}")
    assert words in output.read_text(), output.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(place: Path, number: signal.Signals) -> None:
    """Ctrl-C in the middle ends every process and removes the folder."""
    output = place.with_suffix(".out")
    with (
        output.open("w") as file,
        subprocess.Popen(DEMO, cwd=ROOT, env=environment(place), stdout=file, stderr=subprocess.STDOUT) as demo,
    ):
        wait_said(demo, output, "2. Create the clustered pool")
        started = processes.records(place / "processes")
        demo.send_signal(number)
        assert demo.wait(30) == 130, output.read_text()
    assert len(started) == 6
    assert not [record for record in started if processes.is_alive(record)]
    assert not list(processes.working_in(place))
    assert not place.exists()
    assert output.read_text().endswith("demo: interrupted; nothing is left running\n")


def test_a_killed_demo_is_cleaned_up_by_stop(place: Path) -> None:
    """After kill -9 the processes run on, known by their records, and --stop ends them."""
    output = place.with_suffix(".out")
    with output.open("w") as file, subprocess.Popen(DEMO, cwd=ROOT, env=environment(place), stdout=file) as demo:
        wait_said(demo, output, "1. Discover")
        started = processes.records(place / "processes")
        demo.kill()
        demo.wait(30)
    assert len([record for record in started if processes.is_alive(record)]) == 6
    stopped = subprocess.run([*DEMO, "--stop"], cwd=ROOT, env=environment(place), check=False)
    assert stopped.returncode == 0
    assert not [record for record in started if processes.is_alive(record)]
    assert not place.exists()


def test_an_unknown_driver_is_refused_with_those_that_there_are(place: Path) -> None:
    """A wrong DRIVER is named, and nothing is left of the demo."""
    refused = subprocess.run(
        DEMO,
        cwd=ROOT,
        env={**environment(place), "DRIVER": "xen"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert refused.stderr == "demo: DRIVER=xen is unknown; it is qemu, sim, or nothing for whatever works\n"
    assert not place.exists()
