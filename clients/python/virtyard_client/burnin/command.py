"""`virtyard burnin`: run a mix of operations on a pool for a while, and see how it holds."""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from virtyard_client.burnin import leaks
from virtyard_client.burnin.work import MIB, Place, Work
from virtyard_client.client import Client
from virtyard_client.command.options import ExitCode
from virtyard_client.command.quantities import read_bytes
from virtyard_client.command.usage import UsageError, complain
from virtyard_client.context import Context, ContextError
from virtyard_client.errors import ClientError
from virtyard_client.render.json_line import text_of
from virtyard_client.render.line import plain
from virtyard_client.render.table import table

__all__ = ["find", "main"]


def main(argv: Sequence[str]) -> int:
    """Run a mix of operations in parallel on a pool, say how long each took, and that nothing of it is left.

    It makes machines, disks and cards with names of its own, changes, starts, kills and deletes them, and touches
    nothing else. It ends with 0 if nothing failed and nothing is left, and with 1 otherwise.
    """
    arguments = _parser().parse_args(argv)
    try:
        report = asyncio.run(_burn(arguments))
    except (ContextError, UsageError) as error:
        complain(str(error), json=arguments.json)
        return ExitCode.UNREACHABLE if isinstance(error, ContextError) else ExitCode.REFUSED
    except ClientError as error:
        complain(error.message, json=arguments.json)
        return ExitCode.UNREACHABLE if error.unreachable else ExitCode.FAILED
    if arguments.json:
        print(text_of(report, "json"))
    else:
        _print(report)
    return ExitCode.SUCCEEDED if not report["leaked"] and not report["failures"] else ExitCode.FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="virtyard burnin", description=main.__doc__)
    parser.add_argument("--minutes", type=_positive, default=5.0, help="how long new cycles are begun; 5 if not given")
    parser.add_argument("--workers", type=int, default=4, help="how many machines are worked on at once; 4")
    parser.add_argument("--server-pool", default="", help="the pool; not needed if there is only one")
    parser.add_argument("--repository", default="", help="where the disks go; not needed if the pool has only one")
    parser.add_argument("--disk", type=_size, default=16 * MIB, metavar="SIZE", help="size of each disk; 16M")
    parser.add_argument("--memory", type=_size, default=64 * MIB, metavar="SIZE", help="memory of each machine; 64M")
    parser.add_argument("--kernel", default="", help="path on the servers of a kernel to boot; else the firmware runs")
    parser.add_argument("--initrd", default="", help="path on the servers of the kernel's initial file system")
    parser.add_argument("--aborts", type=_share, default=0.1, help="share of operations that are aborted; 0.1")
    parser.add_argument("--seed", type=int, default=0, help="the same choices as an earlier run; printed by it")
    parser.add_argument("--context", default="", help="where the services are; VIRTYARD_CONTEXT if not given")
    parser.add_argument("--json", action="store_true", help="the report as one JSON object")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("a number of minutes above 0")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("a share from 0 to 1, as 0.1 for every tenth")
    return value


def _size(text: str) -> int:
    try:
        return read_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


async def _burn(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the burn-in and return its report.

    Raises:
        UsageError: there is no such pool or repository, or more than one to choose from.
        ClientError: a service stayed away, or a look at the servers failed.
    """
    if arguments.workers < 1:
        raise UsageError("--workers: at least 1")
    seed = arguments.seed or secrets.randbelow(1 << 31)
    async with Client.connect(Context.load(arguments.context or None)) as client:
        pool, repository = await find(client, arguments.server_pool, arguments.repository)
        servers = await leaks.servers_of(client, pool)
        place = Place(
            pool=pool,
            repository=repository,
            prefix=f"burnin-{seed:x}-{int(time.time()):x}",
            disk_bytes=arguments.disk,
            memory_bytes=arguments.memory,
            kernel=arguments.kernel,
            initrd=arguments.initrd,
            aborts=arguments.aborts,
        )
        if not arguments.json:
            print(
                f"Burn-in of {pool} ({len(servers)} servers online) and {repository} for {arguments.minutes:g} min, "
                f"{arguments.workers} machines at once; seed {seed}. Ctrl-C ends it early, and tidies up.",
                flush=True,
            )
        before = await leaks.look(client, repository, servers)
        began = time.monotonic()
        chance = random.Random(seed)  # noqa: S311  # nothing secret is drawn
        work = Work(client=client, place=place, chance=chance, until=began + 60 * arguments.minutes)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, _end_early, work)
        try:
            await work.run(arguments.workers)
        except* ClientError as errors:
            raise _first(errors) from None
        finally:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        seconds = time.monotonic() - began
        after = await leaks.look(client, repository, servers)
        left = await leaks.compare(client, before, after, place.prefix, frozenset(work.operations))
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "cycles": work.cycles,
        "operations": len(work.measured.samples),
        "types": work.measured.rows(),
        "failures": dict(work.measured.failures),
        "refused": dict(work.measured.refused),
        "leaks": asdict(left),
        "leaked": left.count,
    }


def _end_early(work: Work) -> None:
    work.until = 0.0


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first single error of a group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def find(client: Client, pool: str, repository: str) -> tuple[str, str]:
    """Return the resource names of the pool and the repository; those there are, if none are named.

    Raises:
        UsageError: there is no such pool or repository, or more than one to choose from.
        ClientError: the inventory stayed away.
    """
    pools = await leaks.list_all(client, "ServerPools", "server_pools")
    chosen = _choose("server-pool", "serverPools", pool, [item.name for item in pools])
    repositories = await leaks.list_all(client, "Repositories", "repositories")
    mine = [item.name for item in repositories if item.server_pool == chosen]
    return chosen, _choose("repository", "repositories", repository, mine)


def _choose(flag: str, collection: str, wanted: str, there: Sequence[str]) -> str:
    if wanted:
        name = wanted if "/" in wanted else f"{collection}/{wanted}"
        if name in there:
            return name
        raise UsageError(f"--{flag}: there is no {name}; there are {', '.join(there) or 'none'}")
    if len(there) == 1:
        return there[0]
    raise UsageError(f"--{flag}: say which; there are {', '.join(there) or 'none'}")


def _print(report: dict[str, Any]) -> None:
    rows = report["types"]
    headers = ("operation", "done", "aborted", "failed", "p50_ms", "p99_ms", "lock_wait_p50_ms", "lock_wait_p99_ms")
    shown = ("OPERATION", "DONE", "ABORTED", "FAILED", "P50 MS", "P99 MS", "WAIT P50", "WAIT P99")
    for told in table(shown, [[str(row[name]) for name in headers] for row in rows], None):
        print(plain(told))
    print(f"{report['operations']} operations in {report['cycles']} cycles and {report['seconds']} s")
    refused = ", ".join(f"{count} {reason}" for reason, count in sorted(report["refused"].items()))
    print(f"refused, as they should be: {refused or 'none'}")
    print(f"failed, though nothing asked for it: {sum(report['failures'].values()) or 'none'}")
    for told_failure, count in sorted(report["failures"].items()):
        print(f"  {count} x {told_failure}")
    for kind, found in report["leaks"].items():
        print(f"left behind, {kind}: {len(found)}")
        for each in found:
            print(f"  {each}")
