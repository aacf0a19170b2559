"""A server that does not answer while a repository is presented: partial, told everywhere, and made up for later."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.acceptance.asking import create_machine, list_jobs, new_disk, prepare, run
from tests.acceptance.site import PROGRAM, Site, open_site
from virtyard.api.operations.v1 import unpresent_repository_pb2

SERVERS = ("s1", "s2")


@pytest.fixture
def site() -> Iterator[Site]:
    """A site with two servers."""
    with open_site("embedded", SERVERS) as opened:
        yield opened


def virtyard(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line without a terminal."""
    return subprocess.run(
        [PROGRAM, *words],
        env={**os.environ, "VIRTYARD_CONTEXT": str(site.context)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def objects(site: Site, *words: str) -> list[dict[str, str]]:
    """Return the JSON objects that a command prints."""
    outcome = virtyard(site, *words, "--json")
    assert outcome.returncode == 0, outcome.stderr
    return [json.loads(line) for line in outcome.stdout.splitlines()]


async def test_a_server_that_stands_still_is_put_off_and_caught_up_with(site: Site) -> None:
    """Exit code 4 with the server's name; a warning; once it is back, a job that nobody asked for makes it whole."""
    async with site.client() as client:
        await prepare(site, client)
        await run(client, create_machine(site, "web", [new_disk(4)]))
        names = [f"servers/{server}" for server in SERVERS]
        await run(
            client, unpresent_repository_pb2.UnpresentRepositoryRequest(name="repositories/shared", servers=names)
        )
        with site.paused("s2"):
            partial = virtyard(site, "repository", "present", "shared", "--server", "s1", "--server", "s2")
            assert partial.returncode == 4, partial.stderr
            assert "virtyard: servers/s2: Present Repository to Server is put off" in partial.stderr
            assert "put off, as its server could not be reached" in partial.stdout
            operation = partial.stdout.partition(":")[0]
            assert virtyard(site, "operation", "wait", operation).returncode == 4
        jobs = await list_jobs(client, operation)
        assert [job.deferred for job in jobs] == [False, False, True]
    warnings = objects(site, "event", "list", "--filter", 'object = "servers/s2" AND type = JOB_DEFERRED')
    assert [event["severity"] for event in warnings] == ["SEVERITY_WARNING"]
    async with asyncio.timeout(60):
        while objects(site, "server", "get", "s2")[0].get("appliedRevision", "0") == "0":
            await asyncio.sleep(0.2)
    (refresh,) = objects(site, "job", "list", "--filter", 'title = "Refresh Server"')
    assert (refresh["object"], refresh["origin"]) == ("servers/s2", "ORIGIN_EVENT")
    assert refresh["principal"] == "service/jobs"
    (trigger,) = objects(site, "trigger", "show", "catch-up")
    assert (trigger["lastOperation"], trigger["runs"]) == (refresh["operation"], "1")
    (caught_up,) = objects(site, "server", "get", "s2")
    assert (caught_up["desiredRevision"], caught_up["appliedRevision"]) == ("1", "1")
    started = virtyard(site, "vm", "start", "web", "--server", "s2")
    assert started.returncode == 0, started.stderr


def test_a_refresh_of_a_server_that_is_gone_fails_and_says_where_it_was_looked_for(site: Site) -> None:
    """Within its time, with the address, and the exit code of a failure."""
    discovered = virtyard(site, "server", "discover", "s2", "--agent-address", site.addresses["s2"])
    assert discovered.returncode == 0, discovered.stderr
    site.stop("s2")
    failed = virtyard(site, "server", "refresh", "s2")
    assert failed.returncode == 1
    assert f"cannot be reached at {site.addresses['s2']}" in " ".join(failed.stderr.split())
