"""Kernel and operations as pure code: what is called of the packages that they may import, unseen by import-linter."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import virtyard

ROOT = Path(virtyard.__path__[0])
PURE = sorted(path for folder in ("kernel", "operations") for path in (ROOT / folder).glob("**/*.py"))
CLOCKS = {"now", "utcnow", "today", "fromtimestamp", "GetCurrentTime"}
"""Methods by which a date, a time or a Timestamp is taken from the machine, on whatever they are called."""
CHANCE = {"uuid1", "uuid4", "getnode"}
"""Functions of uuid that give another answer each time."""
IMPORTS = ("google.longrunning",)
"""Packages that import grpc, though their root does not."""
BUILT_IN = {"open", "input", "print", "exec", "eval", "breakpoint"}


def impurities(source: str) -> Iterator[str]:
    """Yield what in a module makes results depend on anything but arguments, or changes anything but results."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Attribute) and called.attr in CLOCKS | CHANCE:
                yield f"line {node.lineno} calls {ast.unparse(called)}"
            elif isinstance(called, ast.Name) and called.id in BUILT_IN | CHANCE:
                yield f"line {node.lineno} calls {called.id}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            modules = [f"{node.module}.{name}" for name in names] if isinstance(node, ast.ImportFrom) else names
            yield from (f"line {node.lineno} imports {name}" for name in modules if name.startswith(IMPORTS))
        elif isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield f"line {node.lineno} waits"


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_pure(path: Path) -> None:
    """No clock is read, nothing is left to chance, nothing waits, nothing is opened."""
    assert list(impurities(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.utcnow()",
        "from datetime import date\ndate.today()",
        "from google.protobuf.timestamp_pb2 import Timestamp\nTimestamp().GetCurrentTime()",
        "import uuid\nuuid.uuid4()",
        "from uuid import uuid4\nuuid4()",
        "from google.longrunning import operations_pb2",
        "import google.longrunning.operations_pb2",
        "async def plan(): ...",
        "open('/etc/passwd')",
    ],
)
def test_impurity_is_found(source: str) -> None:
    """Each of these is seen."""
    assert list(impurities(source))
