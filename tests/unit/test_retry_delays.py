"""Every refusal that passes says when to ask again: each place that makes one, and what gRPC itself says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from virtyard.kernel.errors import Unavailable
from virtyard.runtime.status import named

SERVICES = Path(__file__).resolve().parents[2] / "services" / "virtyard"
KINDS = frozenset({"Unavailable", "Contended"})
"""The errors of those who may ask again, but for a deadline, which is the caller's own."""
APART = {
    "generated": ("api/", "internal/"),
    "the end of a step, which the scheduler tries again at its own pace": ("agent/drivers/",),
    "the end of a command, told to the person who runs it": ("processes/", "runtime/backup.py", "runtime/restore.py"),
}
"""Where none is a refusal of a call, by the reason."""


def refusals(source: str) -> Iterator[tuple[int, bool]]:
    """Yield the lines that make such an error, and whether it has a delay."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in KINDS:
                delays = [ast.unparse(word.value) for word in node.keywords if word.arg == "retry_after"]
                yield node.lineno, delays not in ([], ["None"])


def places() -> Iterator[tuple[str, str]]:
    """Yield the files that may refuse a call, with what is in them."""
    apart = tuple(name for names in APART.values() for name in names)
    for path in sorted(SERVICES.rglob("*.py")):
        name = str(path.relative_to(SERVICES))
        if not name.startswith(apart):
            yield name, path.read_text(encoding="utf-8")


def test_every_refusal_that_passes_has_a_delay() -> None:
    """None leaves the caller to guess."""
    found = [(f"{name}:{line}", told) for name, source in places() for line, told in refusals(source)]
    assert len(found) > 30, "they are looked for where they are"
    assert [place for place, told in found if not told] == []


def test_a_delay_that_is_taken_away_is_missed() -> None:
    """In every file that has one."""
    looked_at = 0
    for name, source in places():
        before = [told for _, told in refusals(source)]
        if before:
            after = [told for _, told in refusals(source.replace("retry_after=", "resource="))]
            assert not any(after), name
            looked_at += 1
    assert looked_at > 15


@pytest.mark.parametrize("words", ["failed to connect to all addresses", ""])
def test_who_is_not_reached_is_asked_again_after_a_while(words: str) -> None:
    """A service that cannot be reached can say nothing by itself."""
    nothing = grpc.aio.Metadata()
    told = named(grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, details=words))
    assert isinstance(told, Unavailable)
    assert told.retry_after == 1.0
