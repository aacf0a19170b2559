"""`make bench`: measures, prints a table, and writes build/bench.json; `--only PART` measures a part of it.

Mutual TLS, synchronous=FULL, telemetry off, on this machine alone: servers, agent and client share its processors.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tools.bench import site as sites
from tools.bench.client import rate
from tools.bench.plain import Plain
from tools.bench.site import ROOT, Site, agent_address, environment
from virtyard.processes.site import prepare_authority
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.database import Database, Transaction

_PHASE_LIMIT = 120.0
RESULT = ROOT / "build" / "bench.json"
UNITS = {
    "unary_per_s": "plain unary calls, 64 in flight",
    "stream_messages_per_s": "messages of one plain stream",
    "bare_fanout_100_per_s": "frames to 100 readers, plain grpcio",
    "bare_fanout_1000_per_s": "frames to 1000 readers, plain grpcio",
    "bare_readers_p99_ms": "a frame to 1000 readers, plain grpcio, 99th percentile",
    "readers_p99_ms": "a frame of WatchJobs to 1000 readers, 99th percentile",
    "readers_beside_stalled_p99_ms": "the same beside ten who never read",
    "readers_p99_of_bare": "ratio of WatchJobs to plain grpcio, without stalled ones",
    "readers_cpu_of_bare": "the same of the server's processor time for a delivery",
    "stalled_p99_ratio": "ratio with stalled ones to without",
    "equal_p99_ratio": "ratio of two equal turns without them: the noise",
    "stalled_cpu_ratio": "ratio of processor time for a delivery with stalled ones to without",
    "equal_cpu_ratio": "its noise",
    "stalled_rss_ratio": "ratio of the service's memory with stalled ones to without",
    "equal_rss_ratio": "its noise",
    "bare_readers_rss_mib": "memory of the plain server with the 1000",
    "readers_rss_mib": "memory of the service with the 1000",
    "readers_beside_stalled_rss_mib": "memory of the service with the ten as well",
    "stalled_buffered_kib": "bytes that the feed keeps waiting then, for all readers together",
    "snapshot_alone_cpu_ms": "processor time of a snapshot of 2000 objects for one subscriber",
    "snapshot_in_crowd_cpu_ms": "the same for each of 200 who come at once",
    "snapshot_crowd_s": "until all of the 200 have it",
    "console_jobs_few_long_tasks": "tasks of more than 50 ms in 120 steps through a list of 120 rows of jobs",
    "console_jobs_many_long_tasks": "the same in a list of 100,000 jobs",
    "console_jobs_cpu_ratio": "ratio of the page's processor time for it, many to few",
    "console_tree_few_long_tasks": "tasks of more than 50 ms in 80 steps through a tree of 100 machines",
    "console_tree_many_long_tasks": "the same in a tree of 10,000",
    "console_tree_cpu_ratio": "ratio of the page's processor time for it, many to few",
    "console_change_cpu_ratio": "the same for three changes of machines in the tree",
    "host_crash_p50_ms": "from a guest's kill -9 until the inventory shows it, median",
    "host_crash_p99_ms": "the same, 99th percentile",
    "host_by_hand_p50_ms": "from a guest's end by SIGTERM until the inventory shows it, median",
    "host_by_hand_p99_ms": "the same, 99th percentile",
    "host_storage_p50_ms": "from an unmount until both servers' loss of storage is shown, median",
    "host_storage_p99_ms": "the same, 99th percentile",
    "host_link_p50_ms": "from a broken cable until both ends are shown to be down, median",
    "host_link_p99_ms": "the same, 99th percentile",
    "abort_stop_p50_ms": "from AbortJob of a stop that its guest does not hear until the operation has ended, median",
    "abort_stop_p99_ms": "the same, 99th percentile",
    "abort_import_p50_ms": "from AbortJob of an import of 2 GiB until it has ended and is undone, median",
    "abort_import_p99_ms": "the same, 99th percentile",
    "commits_per_s": "durable writes by group commit, 64 in flight",
    "noop_jobs_per_s": "no-op jobs, embedded, 64 in flight",
    "noop_p50_ms": "one no-op alone, embedded, median",
    "noop_p99_ms": "one no-op alone, embedded, 99th percentile",
    "split_noop_jobs_per_s": "no-op jobs, split into processes, 64 in flight",
    "create_vm_operations_per_s": "create a machine, 2 disks and a card, 64 in flight",
    "create_vm_five_jobs_per_s": "create a machine, 1 disk and a card: the five jobs, 64 in flight",
    "create_vm_p50_ms": "create one machine alone, median",
    "lock_cycles_per_s": "acquire and release five objects, 64 in flight",
    "fanout_100_per_s": "frames of WatchJobs to 100 readers",
    "fanout_1000_per_s": "frames of WatchJobs to 1000 readers",
    "commits_per_noop_job": "commits of all databases for one no-op alone",
    "rpcs_per_noop_job": "requests between services for one no-op alone",
}
"""What is measured, by its key; what is told with its spread has the keys `_least` and `_most` too."""


BOUNDS = {
    **{f"host_{kind}_p99_ms": 2000.0 for kind in ("crash", "by_hand", "storage", "link")},
    "abort_stop_p99_ms": 1000.0,
    "abort_import_p99_ms": 30000.0,
}
"""What may not be exceeded, or the whole has failed: the inventory follows hosts within two seconds; an abort reaches a
running action within one, which then leaves within thirty."""
CYCLES = "20"
"""How often each thing is done that happens on a host."""


async def phase(module: str, *words: str, limit: float = _PHASE_LIMIT) -> dict[str, float]:
    """Run one measurement in a process of its own and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *words), stdout=asyncio.subprocess.PIPE, env=environment(), cwd=ROOT
    )
    async with asyncio.timeout(limit):
        out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{module} {' '.join(words)} failed")
    # What it says is its last line; a build may have spoken before.
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found


async def client(*words: str) -> dict[str, float]:
    """Run a phase of the client."""
    return await phase("tools.bench.client", *words)


async def measure_plain(folder: Path) -> dict[str, float]:
    """Measure what the ground gives: calls, streams and fan-outs of plain grpcio, and beside them our own fan-out."""
    prepare_authority(folder, hosts=["127.0.0.1"])
    async with Plain.started(folder) as server:
        plain = await client("bare", *server.words, "3")
        found = {"unary_per_s": plain["unary"], "stream_messages_per_s": plain["stream"]}
        for readers in ("100", "1000"):
            for kind, prefix in (("bare", "bare_"), ("feed", "")):
                rates = await client("fanout", *server.words, kind, readers, "3")
                found[f"{prefix}fanout_{readers}_per_s"] = rates["rate"]
    return found


async def measure_stalled(folder: Path) -> dict[str, float]:
    """Measure what ten readers who never read cost a thousand others and the service."""
    return await phase("tools.bench.stalled", str(folder), "5", "2", limit=1200.0)


async def measure_snapshots(folder: Path) -> dict[str, float]:
    """Measure what two hundred subscribers who come at once cost the inventory."""
    return await phase("tools.bench.snapshots", str(folder), limit=600.0)


async def measure_console(folder: Path) -> dict[str, float]:
    """Measure what a list of 100,000 jobs and a tree of 10,000 machines cost a real Chromium, and ones of a hundred."""
    return await phase("tools.bench.console", str(folder), limit=3000.0)


async def measure_host_events(_: Path) -> dict[str, float]:
    """Measure how soon the inventory follows what happens on hosts; needs root, for namespaces and mounts."""
    return await phase("tools.bench.host_events", CYCLES, limit=1200.0)


async def measure_aborts(_: Path) -> dict[str, float]:
    """Measure how soon aborts reach running actions of a host with QEMU, and how soon these have left."""
    return await phase("tools.bench.aborts", CYCLES, limit=1200.0)


async def measure_commits(folder: Path) -> dict[str, float]:
    """Measure how many durable writes of one row each are answered in a second."""
    async with await Database.open(folder / "commits.db", None, None, SystemClock()) as database:
        await database.write(
            lambda sql: sql.execute("CREATE TABLE row (number INTEGER PRIMARY KEY, body BLOB)").close()
        )

        async def cycle(_: int) -> None:
            def insert(sql: Transaction) -> None:
                sql.execute("INSERT INTO row (body) VALUES (?)", (bytes(200),)).close()

            await database.write(insert)

        return {"commits_per_s": await rate(cycle, 3.0, warm_up=0.5)}


async def measure_embedded(folder: Path) -> dict[str, float]:
    """Measure a control plane in one process, with one agent."""
    async with sites.running(folder, split=False) as site:
        await furnish(site)
        no_ops = await client("no-ops", str(site.context), "8", "300")
        machines = await client("machines", str(site.context), "8")
        locks = await client("locks", str(site.context), "4")
    return {
        "noop_jobs_per_s": no_ops["rate"],
        "noop_p50_ms": no_ops["p50_ms"],
        "noop_p99_ms": no_ops["p99_ms"],
        "create_vm_operations_per_s": machines["rate"],
        "create_vm_five_jobs_per_s": machines["five_jobs_rate"],
        "create_vm_p50_ms": machines["p50_ms"],
        "lock_cycles_per_s": locks["rate"],
    }


async def measure_split(folder: Path) -> dict[str, float]:
    """Measure a control plane in three processes, with one agent."""
    async with sites.running(folder, split=True) as site:
        await furnish(site)
        return {"split_noop_jobs_per_s": (await client("no-ops", str(site.context), "6", "20"))["rate"]}


async def furnish(site: Site) -> None:
    """Discover the server, and create a pool and a repository."""
    await client("furnish", str(site.context), agent_address(site), str(site.share))


async def measure_counts(folder: Path) -> dict[str, float]:
    """Count what one no-op costs."""
    found = await phase("tools.bench.counts", str(folder))
    return {"commits_per_noop_job": found["commits"], "rpcs_per_noop_job": found["rpcs"]}


PARTS: dict[str, Callable[[Path], Awaitable[dict[str, float]]]] = {
    "plain": measure_plain,
    "stalled": measure_stalled,
    "snapshots": measure_snapshots,
    "console": measure_console,
    "host-events": measure_host_events,
    "aborts": measure_aborts,
    "commits": measure_commits,
    "embedded": measure_embedded,
    "split": measure_split,
    "counts": measure_counts,
}
"""What can be measured, in that order."""


def parts_of(words: Sequence[str] | None = None) -> list[str]:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="measure this part only; may be given again")
    return parser.parse_args(words).only or list(PARTS)


async def main(parts: Sequence[str]) -> None:
    """Measure these parts, one after another."""
    began = time.monotonic()
    RESULT.parent.mkdir(exist_ok=True)
    found: dict[str, float] = {}
    # On the disk of the clone: /tmp may be memory, where a commit costs nothing.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=RESULT.parent) as folder:
        for number, part in enumerate(parts):
            print(f"bench: {part} ...", file=sys.stderr, flush=True)
            own = Path(folder) / str(number)
            own.mkdir()
            found |= await PARTS[part](own)
    rounded = {key: round(value, 2 if value < 100 else 0) for key, value in found.items()}
    RESULT.write_text(json.dumps(rounded, indent=2) + "\n")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{cores} processors, Python {platform.python_version()}, {time.monotonic() - began:.0f} s")
    for key, unit in UNITS.items():
        if key in rounded:
            least, most = rounded.get(f"{key}_least"), rounded.get(f"{key}_most")
            within = f" ({least:g} to {most:g})" if least is not None else ""
            print(f"{key:29} {rounded[key]:10g}   {unit}{within}")
    over = [f"{key} is more than {bound:g}" for key, bound in BOUNDS.items() if rounded.get(key, 0) > bound]
    if over:
        sys.exit(f"bench: {'; '.join(over)}")


if __name__ == "__main__":
    asyncio.run(main(parts_of()))
