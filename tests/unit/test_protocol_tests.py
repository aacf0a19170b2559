"""The table of what proves the protocol: every rule is in it, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RULES = [f"P{number}" for number in range(1, 37)]
ROW = re.compile(r"\| (P\d+) \| ([^|]+) \| ([^|]+) \|")
TEST = re.compile(r"`([\w/.]+)::(\w+)`")


@cache
def rows() -> dict[str, str]:
    """Return what the table says of each rule."""
    text = (ROOT / "docs" / "protocol-tests.md").read_text(encoding="utf-8")
    return {found[1]: found[3] for found in map(ROW.fullmatch, text.splitlines()) if found}


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def missing(text: str) -> list[str]:
    """Return the tests that a row names and that do not exist."""
    return [
        f"{path}::{name}"
        for path, name in TEST.findall(text)
        if not (ROOT / path).is_file() or name not in names_in(path)
    ]


def test_every_rule_is_in_the_table() -> None:
    """In their order, each once."""
    assert list(rows()) == RULES


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_tests_or_a_reason(rule: str) -> None:
    """A rule names tests that exist, or says why it has none yet, and not both."""
    text = rows()[rule]
    assert missing(text) == []
    assert bool(TEST.search(text)) is not text.startswith("Not yet: ")


def test_a_test_that_is_gone_is_noticed() -> None:
    """The check above can fail."""
    assert missing("`tests/unit/test_protocol_tests.py::test_that_never_was`")
    assert missing("`tests/unit/test_nothing.py::test_that_never_was`")
    assert not missing("`tests/unit/test_protocol_tests.py::test_every_rule_is_in_the_table`")
