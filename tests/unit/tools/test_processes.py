"""Processes of a tool: known by pid and start time, ended by those alone."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from tools import processes

FOR_EVER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()",
]


def start(name: str, command: list[str], folder: Path) -> processes.Record:
    """Start a process and wait until it says that it is up."""
    record = processes.start(name, command, folder)
    while "up" not in (folder / f"{name}.log").read_text():
        assert processes.is_alive(record)
    return record


def test_a_started_process_is_found_by_its_record_and_ended(tmp_path: Path) -> None:
    """What another run reads from the folder is the process that was started, and ending it leaves none."""
    record = start("one", FOR_EVER, tmp_path)
    assert processes.records(tmp_path) == [record]
    assert processes.is_alive(record)
    assert processes.end([record]) == []
    assert not processes.is_alive(record)


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    """A process that ignores SIGTERM is killed after the time that it was given, and named."""
    record = start("stubborn", STUBBORN, tmp_path)
    assert processes.end([record], 0.2) == [record]
    assert not processes.is_alive(record)


def test_a_pid_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    """A record with this process's pid and another start time is not alive, and ending it ends nobody."""
    other = replace(start("one", FOR_EVER, tmp_path), began="1")
    assert not processes.is_alive(other)
    assert processes.end([other]) == []
    (record,) = processes.records(tmp_path)
    assert processes.is_alive(record)
    processes.end([record])


def test_processes_are_found_by_the_folder_that_they_work_in(tmp_path: Path) -> None:
    """A process with a path of the folder in its arguments is found; one of a folder with a longer name is not."""
    (tmp_path / "site").mkdir()
    inside = start("inside", [*FOR_EVER, str(tmp_path / "site" / "file")], tmp_path / "records")
    beside = start("beside", [*FOR_EVER, str(tmp_path / "site-2" / "file")], tmp_path / "records")
    found = [record.pid for record, _ in processes.working_in(tmp_path / "site")]
    assert found == [inside.pid]
    assert os.getpid() not in found
    processes.end([inside, beside])
