"""Usage errors: what is wrong with a command line, before anything was sent."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable
from shutil import get_terminal_size


class UsageError(Exception):
    """The command line cannot be understood; the message names the word or flag and what is allowed."""


def suggest(word: str, known: Iterable[str]) -> str:
    """A hint at the nearest known word, as `; did you mean --memory?`, or nothing."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def terminal_width() -> int:
    """Columns of the terminal; 80 if there is none."""
    return get_terminal_size((80, 24)).columns


def complain(message: str, *, json: bool) -> None:
    """Say on standard error what went wrong before or beside a call; as one line of JSON if that was asked for."""
    if json:
        from virtyard_client.render.json_line import usage_line

        text = usage_line(message)
    else:
        text = textwrap.fill(f"virtyard: {message}", terminal_width(), break_long_words=False, break_on_hyphens=False)
    print(text, file=sys.stderr)
