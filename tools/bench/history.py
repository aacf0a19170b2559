"""`make bench-history`: databases and ledgers do not grow with the history; writes build/history.json.

No-op jobs run with 64 in flight on a site that keeps few of them, half live and half archived. The size of every
database is read when half of the jobs have ended and when all have, and so is the number of rows of every table.
Before each reading one job more runs by itself, and then nothing for a while: a participant learns with the next job
that those before it have ended, so that each time it remembers that one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from tools.bench import site as sites
from tools.bench.__main__ import phase
from tools.bench.site import ROOT, Site, agent_address

RESULT = ROOT / "build" / "history.json"
_MOST = 0.05
_CHUNK = 1000
_CHUNK_LIMIT = 900.0
_QUIET = 45.0
"""Seconds after which the keepers of histories and floors have looked again."""


def configuration(kept: int) -> str:
    """Return a configuration that keeps so many operations."""
    return f"""
[feeds]
journal_entries = {max(kept, 1000)}
[history]
live_operations = {kept // 2}
archive_operations = {kept // 2}
event_entries = {kept // 2}
event_archive_entries = {kept // 2}
"""


def sizes(site: Site) -> dict[str, dict[str, int]]:
    """Return the bytes of every database, those of its free pages and of its log, and the rows of its tables."""
    found = {}
    paths = [*(site.folder / "state").glob("*.db"), site.folder / "agent-state" / "ledger.db"]
    for path in sorted(paths):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as sql:
            (pages,), (page,) = sql.execute("PRAGMA page_count").fetchone(), sql.execute("PRAGMA page_size").fetchone()
            tables = [name for (name,) in sql.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = {name: sql.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
            (free,) = sql.execute("PRAGMA freelist_count").fetchone()
        wal = path.with_name(f"{path.name}-wal")
        log = wal.stat().st_size if wal.exists() else 0
        found[path.name] = {"bytes": pages * page, "free": free * page, "wal": log, **rows}
    return found


async def measure(folder: Path, jobs: int, kept: int) -> dict[str, object]:
    """Run the jobs, and return the sizes at half of them and at all, with the rate of each half."""
    file = folder / "virtyard.toml"
    file.write_text(configuration(kept))
    looks, rates = [], []
    async with sites.running(folder, split=False, configuration=str(file)) as site:
        await phase("tools.bench.client", "furnish", str(site.context), agent_address(site), str(site.share))
        for half in range(2):
            began = time.monotonic()
            for first in range(half * jobs // 2, (half + 1) * jobs // 2, _CHUNK):
                count = min(_CHUNK, (half + 1) * jobs // 2 - first)
                words = ("many-no-ops", str(site.context), str(first), str(count))
                await phase("tools.bench.client", *words, limit=_CHUNK_LIMIT)
            rates.append(jobs / 2 / (time.monotonic() - began))
            await phase("tools.bench.client", "many-no-ops", str(site.context), str(jobs + half), "1")
            await asyncio.sleep(_QUIET)
            looks.append(sizes(site))
            print(f"bench-history: {(half + 1) * jobs // 2} jobs, {rates[-1]:.0f} a second", file=sys.stderr)
    return {"jobs": jobs, "kept": kept, "rates": rates, "half": looks[0], "all": looks[1]}


def grown(found: dict[str, dict[str, dict[str, int]]]) -> dict[str, float]:
    """Return by which part each database is larger with all jobs than with half of them."""
    return {name: found["all"][name]["bytes"] / size["bytes"] - 1 for name, size in found["half"].items()}


def main() -> int:
    """Measure, print, and tell by the exit code whether nothing has grown."""
    parser = argparse.ArgumentParser(prog="make bench-history", description=main.__doc__)
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--kept", type=int, default=10_000)
    arguments = parser.parse_args()
    RESULT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="history-", dir=RESULT.parent) as folder:
        found = asyncio.run(measure(Path(folder), arguments.jobs, arguments.kept))
    RESULT.write_text(json.dumps(found, indent=2) + "\n")
    growth = grown(found)  # type: ignore[arg-type]  # the two looks
    for name, part in growth.items():
        half, whole = (found[key][name]["bytes"] for key in ("half", "all"))  # type: ignore[index]
        print(f"{name:14} {half:12,} {whole:12,} bytes {part:+8.2%}")
    return int(any(part > _MOST for part in growth.values()))


if __name__ == "__main__":
    sys.exit(main())
