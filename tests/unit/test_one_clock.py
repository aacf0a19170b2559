"""One clock for each process: nothing in the services reads the wall clock of the machine but `runtime.clock` (P33)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import virtyard

ROOT = Path(virtyard.__path__[0])
EXCEPTIONS = {
    "runtime/clock.py": "it is the clock",
    "runtime/pki.py": "TLS judges certificates by the machine's clock, so it is that by which they are issued",
}
"""Modules that may read the machine's wall clock, each with the reason."""
OF_TIME = {"time", "time_ns", "ctime", "localtime", "gmtime", "clock_gettime"}
OF_DATES = {"now", "utcnow", "today"}


def readings(source: str) -> Iterator[str]:
    """Yield where a module reads the wall clock, or hands over what does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value).rpartition(".")[2]
            read = node.attr == "GetCurrentTime"
            read |= owner == "time" and node.attr in OF_TIME
            read |= owner in ("datetime", "date") and node.attr in OF_DATES
            if read:
                yield f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (f"line {node.lineno}: {alias.name}" for alias in node.names if alias.name in OF_TIME)


def test_no_service_reads_the_wall_clock() -> None:
    """Two clocks in one process disagree once the machine's is set, and what compares their times goes wrong."""
    modules = [path for path in sorted(ROOT.glob("**/*.py")) if not path.stem.endswith(("_pb2", "_pb2_grpc"))]
    found = {path.relative_to(ROOT).as_posix(): list(readings(path.read_text())) for path in modules}
    assert {name: places for name, places in found.items() if places and name not in EXCEPTIONS} == {}
    assert {name for name, places in found.items() if places} == set(EXCEPTIONS), "an exception that nothing needs"


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "import time\ntime.time_ns()",
        "import time\nclock = time.time",
        "from time import time",
        "from datetime import UTC, datetime\ndatetime.now(UTC)",
        "import datetime\ndatetime.datetime.utcnow()",
        "from datetime import date\ndate.today()",
        "record.end_time.GetCurrentTime()",
    ],
)
def test_each_way_to_read_it_is_seen(source: str) -> None:
    """What the test above looks for is found."""
    assert list(readings(source))


@pytest.mark.parametrize("source", ["clock.now()", "time.monotonic()", "loop.time()", "from time import monotonic"])
def test_other_clocks_are_let_be(source: str) -> None:
    """The process's clock and steady ones are what is to be read."""
    assert not list(readings(source))
