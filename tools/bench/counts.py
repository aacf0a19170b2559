"""What one no-op alone costs, counted: commits of all databases, and requests between the services.

Usage: python -m tools.bench.counts FOLDER, prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from example.noop.v1 import noop_service_pb2

from tests.integration.jobs.site import furnish, running
from virtyard.runtime import loop
from virtyard.runtime.rpc import Method

_COUNT = 20
_OF_THE_CLIENT = frozenset({"SubmitOperation", "WatchOperation", "ListLocks"})


async def count(folder: Path) -> dict[str, float]:
    """Run no-ops one after another and count."""
    requests = 0
    parse = Method._parse  # noqa: SLF001 - every request of every service passes it

    def counting(self: Method, raw: bytes) -> object:
        nonlocal requests
        requests += self.name not in _OF_THE_CLIENT
        return parse(self, raw)

    Method._parse = counting  # type: ignore[assignment,method-assign]  # noqa: SLF001 - see above
    async with running(folder, "s1") as site:
        await furnish(site)
        await site.wait_released()
        await site.succeed(noop_service_pb2.NoOpRequest(server="servers/s1", target="repositories/first"))
        await site.wait_released()
        before, requests = sum(site.commits().values()), 0
        for number in range(_COUNT):
            await site.succeed(noop_service_pb2.NoOpRequest(server="servers/s1", target=f"repositories/n{number}"))
            await site.wait_released()
        # The last report of a result to a stream is no request, and neither is anything else of this loop.
        await asyncio.sleep(0)
        commits = sum(site.commits().values()) - before
        return {"commits": commits / _COUNT, "rpcs": requests / _COUNT}


if __name__ == "__main__":
    print(json.dumps(loop.run(count(Path(sys.argv[1])))))
