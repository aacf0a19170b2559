"""Commands that are no rpcs (up, serve, pki, agent ...), from the entry point group `virtyard.commands`.

Each is a callable `main(argv) -> int`; the first line of its docstring is its help, read from the source without
importing it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path

GROUP = "virtyard.commands"


def run_other(name: str, argv: Sequence[str]) -> int | None:
    """Run the command of that name; None if nobody offers it."""
    for entry_point in metadata.entry_points(group=GROUP, name=name):
        command = entry_point.load()
        return int(command(list(argv)) or 0)
    return None


def other_commands() -> list[tuple[str, str]]:
    """Name and help line of every such command."""
    found = {entry_point.name: entry_point for entry_point in metadata.entry_points(group=GROUP)}
    return [(name, _summary(entry_point)) for name, entry_point in sorted(found.items())]


def _summary(entry_point: metadata.EntryPoint) -> str:
    try:
        spec = util.find_spec(entry_point.module)
        source = Path(spec.origin).read_text() if spec is not None and spec.origin else ""
    except (ImportError, OSError, ValueError):
        return ""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == entry_point.attr:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""
