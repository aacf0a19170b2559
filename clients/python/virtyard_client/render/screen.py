"""The screen: where output goes, how wide it is, and whether it can redraw, colour and show more than ASCII."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Self, TextIO

from virtyard_client.render.line import Line, plain
from virtyard_client.render.tree import ASCII, UNICODE, Signs

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text


class Screen:
    """Standard output and error of one command. Styles need a terminal; without one lines are plain and never cut."""

    def __init__(
        self,
        out: TextIO | None = None,
        err: TextIO | None = None,
        environment: Mapping[str, str] | None = None,
        width: int | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        self.out, self.err = out or sys.stdout, err or sys.stderr
        self.width = width or shutil.get_terminal_size((80, 24)).columns
        """Columns of the terminal; 80 if there is none."""
        self.terminal = self.out.isatty() and environment.get("TERM", "") != "dumb"
        """True if lines can be redrawn."""
        self.colour = self.terminal and not environment.get("NO_COLOR")
        """True if styles become colours."""
        self.signs: Signs = UNICODE if _takes_unicode(self.out) else ASCII
        """The characters that can be shown."""

    @property
    def table_width(self) -> int | None:
        """What tables are cut to; None when piped."""
        return self.width if self.terminal else None

    def write(self, lines: Iterable[Line]) -> None:
        """Print lines."""
        if not self.colour:
            for line in lines:
                self.text(plain(line))
            return
        console = self._console()
        for line in lines:
            console.print(_text(line), soft_wrap=True)

    def text(self, text: str) -> None:
        """Print a text as it is, at once."""
        print(text, file=self.out, flush=True)

    def complain(self, lines: Iterable[Line]) -> None:
        """Print lines to standard error."""
        for line in lines:
            print(plain(line), file=self.err, flush=True)

    def _console(self) -> Console:
        from rich.console import Console

        return Console(
            file=self.out,
            width=self.width,
            force_terminal=True,
            no_color=not self.colour,
            color_system="standard" if self.colour else None,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )

    def live(self, lines: Callable[[], list[Line]]) -> LiveLines:
        """A part of the terminal that shows `lines()` again and again until it is left."""
        return LiveLines(self._console(), lines)


class LiveLines:
    """Lines that are redrawn ten times a second; the last form of them stays on the screen."""

    def __init__(self, console: Console, lines: Callable[[], list[Line]]) -> None:
        from rich.live import Live

        self._lines = lines
        self._live: Live = Live(
            console=console,
            get_renderable=self._render,
            refresh_per_second=10,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="ellipsis",
        )

    def _render(self) -> Text:
        from rich.text import Text

        return Text("\n").join(_text(line) for line in self._lines())

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._live.vertical_overflow = "visible"
        self._live.stop()


def _text(line: Line) -> Text:
    from rich.text import Text

    return Text.assemble(*((span.text, span.style) for span in line), no_wrap=True, overflow="crop")


def _takes_unicode(stream: TextIO) -> bool:
    encoding = getattr(stream, "encoding", None) or "ascii"
    return encoding.lower().replace("-", "") in ("utf8", "utf16", "utf32", "utf8sig")
