"""The reference of settings in docs/configuration.md, written from their declaration; `--check` compares only."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from virtyard.processes.settings import SETTINGS
from virtyard.runtime.setting import Setting

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
BEGIN = "<!-- settings: written by tools/generate_configuration.py -->"
END = "<!-- end of settings -->"


def main(words: Sequence[str]) -> int:
    """Write the page, or tell whether it is current; return the exit code."""
    present = PAGE.read_text(encoding="utf-8")
    wanted = rendered(present)
    if words == ["--check"]:
        if present != wanted:
            print(f"{PAGE.name} is not current; run: python -m tools.generate_configuration", file=sys.stderr)
        return int(present != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


def rendered(page: str) -> str:
    """Return the page with the reference between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{PAGE.name} lost its marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{reference()}\n{END}{after}"


def reference() -> str:
    """Return the tables of all settings."""
    tables = []
    for section, settings in groupby(SETTINGS, key=lambda setting: setting.section):
        rows = [_row(setting) for setting in settings]
        head = "| key | what | default, and why | allowed | read by |\n|---|---|---|---|---|"
        tables.append("\n".join([f"\n### [{section}]\n", head, *rows]))
    return "\n".join(tables) + "\n"


def _row(setting: Setting[Any]) -> str:
    key = f"`{setting.key}`" + (f"<br>{_flag(setting)}" if setting.flag else "")
    aliases = "".join(f" Also `{name}`." for name in setting.aliases)
    if setting.required:
        default = "none, it must be set"
    elif setting.derived is not None:
        default = setting.derived_text
    else:
        default = f"`{setting.written(setting.default)}`"
    unit = f" {setting.kind.unit}" if setting.kind.unit and not setting.required else ""
    allowed = setting.kind.allowed.replace('""', '`""`')
    cells = (key, setting.summary + aliases, f"{default}{unit}. {setting.reason}", allowed, ", ".join(setting.readers))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _flag(setting: Setting[Any]) -> str:
    only = "" if setting.flagged is None else f" of {', '.join(setting.flagged)}"
    return f"`{setting.flag}`{only}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
