"""`make torture-points`' table: how many points of each operation type were tried, by kind of fault.

The tests note what they covered, a line of JSON each, while VIRTYARD_POINTS names a folder. A later line about the same
type and kind replaces an earlier one, so types may be run one after another.

Usage: python -m tools.points FOLDER [PAGE], prints the table as Markdown, or puts it into the page between its marks.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

VARIABLE = "VIRTYARD_POINTS"
KINDS = {
    "crash": "crash points",
    "abort": "abort points",
    "step": "failing steps",
    "undo": "failing undos",
}
"""The kinds of points, with their headings."""
STORY = "story: "
"""What the name of a story begins with, in the place of an operation type's."""
BEGIN, END = "<!-- points -->", "<!-- /points -->"
_FILE = "points.jsonl"
Found = Mapping[str, Mapping[str, Sequence[int]]]
"""By type and kind: how many points were covered, and how many there are."""


def note(name: str, kind: str, covered: int, found: int) -> None:
    """Note that of the `found` points of a kind that an operation type has, `covered` were tried and passed."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"type": name, "kind": kind, "covered": covered, "found": found})
    with (path / _FILE).open("a") as file:
        file.write(line + "\n")


def read(folder: Path) -> Found:
    """Return what was noted last of each type and kind."""
    found: dict[str, dict[str, Sequence[int]]] = {}
    for line in (folder / _FILE).read_text().splitlines():
        said = json.loads(line)
        found.setdefault(said["type"], {})[said["kind"]] = (said["covered"], said["found"])
    return found


def table(found: Found) -> str:
    """Return a row for each type and one for all of them, then the stories; what was not run shows as a dash."""
    stories = {name.removeprefix(STORY): kinds for name, kinds in found.items() if name.startswith(STORY)}
    found = {name: kinds for name, kinds in found.items() if not name.startswith(STORY)}
    head = ["| operation type | " + " | ".join(KINDS.values()) + " |", "|---" * (len(KINDS) + 1) + "|"]
    rows = [
        f"| `{name}` | " + " | ".join(_cell(kinds.get(kind)) for kind in KINDS) + " |"
        for name, kinds in sorted(found.items())
    ]
    sums = []
    for kind in KINDS:
        ran = [kinds[kind] for kinds in found.values() if kind in kinds]
        sums.append(f"{_cell((sum(one[0] for one in ran), sum(one[1] for one in ran)))} in {len(ran)} types")
    lines = [*head, *rows, f"| all {len(found)} | " + " | ".join(sums) + " |"]
    if stories:
        lines += ["", f"| story | {KINDS['crash']} |", "|---|---|"]
        lines += [f"| {name} | {_cell(kinds.get('crash'))} |" for name, kinds in sorted(stories.items())]
    return "\n".join(lines)


def put_into(page: str, text: str) -> str:
    """Return the page with the text between its marks.

    Raises:
        ValueError: it has no marks.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"it needs {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}"


def _cell(one: Sequence[int] | None) -> str:
    return "-" if one is None else f"{one[0]} of {one[1]}"


def main(words: Sequence[str] | None = None) -> int:
    """Show the table, or write it into a page."""
    parser = argparse.ArgumentParser(prog="python -m tools.points", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("page", type=Path, nargs="?")
    arguments = parser.parse_args(words)
    text = table(read(arguments.folder))
    if arguments.page is None:
        sys.stdout.write(text + "\n")
    else:
        arguments.page.write_text(put_into(arguments.page.read_text(encoding="utf-8"), text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
