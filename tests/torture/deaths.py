"""Who ended by itself during the torture: each is started again, and what it said and how it ended is kept."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Collection, Sequence

from tests.acceptance.site import Site
from tools import processes

_POLL_SECONDS = 0.05
_KNOWN_SECONDS = 5.0
"""So long after the end of a process, its exit code is known."""
_LINES = 12
_REFUSAL = re.compile(
    r"""
    ^virtyard\ [\w ]+:\ .*disk\ I/O\ error$ |
    \ failed:\ disk\ I/O\ error\ .*\nvirtyard\ [\w ]+:\ .*\Z |
    ^virtyard\.kernel\.errors\.Unavailable:\ .*disk\ I/O\ error\n(?s:.*)^OSError:\ .*File\ too\ large$
    """,
    re.MULTILINE | re.VERBOSE,
)
"""What a process says that ends at its start, as there is no room; whoever keeps it starts it again.

An error of ours ends a process in its start alone. Where its log has no room either, the nursery tells both errors, or
the log ends within its last line.
"""


class Watch:
    """Starts again whoever has died, a little later."""

    def __init__(
        self,
        site: Site,
        names: Sequence[str],
        killed: Collection[processes.Record],
        filled: Collection[processes.Record],
    ) -> None:
        """Watch these processes, of which the end of those `killed` is wanted; those `filled` have had a full disk."""
        self._site = site
        self._names = names
        self._killed = killed
        self._filled = filled
        self.wrong: list[str] = []
        """Of each process that ended by itself: its name, its exit code, and its last words."""
        self.could_not_start: list[str] = []
        """The same of those that refused to start on a disk that was full, and said so."""

    async def run(self, over: asyncio.Event) -> None:
        """Look again and again until it is over."""
        while not over.is_set():
            for name in self._names:
                record = self._site.record(name)
                if not processes.is_alive(record):
                    if record not in self._killed:
                        self._note(record, await self._how(record))
                    await asyncio.to_thread(self._site.start, name, wait=False)
            await asyncio.sleep(_POLL_SECONDS)

    async def _how(self, record: processes.Record) -> int | None:
        """Return the exit code; None if nobody knows it."""
        assert self._site.nursery is not None
        deadline = time.monotonic() + _KNOWN_SECONDS
        while (code := self._site.nursery.exit_code(record.pid)) is None and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
        return code

    def _note(self, record: processes.Record, code: int | None) -> None:
        said = self._site.said(record.name)
        how = "in a way not known" if code is None else signal.Signals(-code).name if code < 0 else f"with code {code}"
        refusal = _REFUSAL.search(said) if code == 1 and record in self._filled else None
        if refusal is not None:
            self.could_not_start.append(
                f"{record.name} (pid {record.pid}) could not start: {refusal[0].splitlines()[0]}"
            )
            return
        words = [f"{record.name} (pid {record.pid}) ended by itself, {how}:", *said.splitlines()[-_LINES:]]
        self.wrong.append("\n    ".join(words))
