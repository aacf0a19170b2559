"""--no-wait on an operation that will fail: accepted all the same, and the failure is told in three other places."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.acceptance.asking import prepare
from tests.acceptance.site import PROGRAM, Site, open_site


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with one server."""
    with open_site("split") as opened:
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
        timeout=60,
    )


def objects(site: Site, *words: str) -> list[dict[str, str]]:
    """Return the JSON objects that a command prints."""
    outcome = virtyard(site, *words, "--json")
    assert outcome.returncode == 0, outcome.stderr
    return [json.loads(line) for line in outcome.stdout.splitlines()]


async def test_a_failure_after_no_wait_is_in_the_list_in_an_event_and_in_the_exit_code_of_wait(site: Site) -> None:
    """The command exits 0 with the operation's name; the job list, an event and `operation wait` say that it failed."""
    async with site.client() as client:
        await prepare(site, client)
    accepted = virtyard(
        site, "repository", "create", "outside", "--server-pool", "pool", "--path", "/etc/virtyard-test", "--no-wait"
    )
    assert accepted.returncode == 0, accepted.stderr
    operation = accepted.stdout.strip()
    assert operation.startswith("operations/")
    waited = virtyard(site, "operation", "wait", operation)
    assert waited.returncode == 1
    assert "not under a storage root" in waited.stderr
    (job,) = objects(site, "job", "list", "--filter", f'operation = "{operation}"')
    assert (job["state"], job["object"]) == ("JOB_STATE_FAILED", "repositories/outside")
    assert [listed["state"] for listed in objects(site, "job", "list", "--filter", "state = FAILED")] == [job["state"]]
    wait_event(site, operation)
    again = virtyard(site, "operation", "wait", operation.removeprefix("operations/"))
    assert again.returncode == 1, "waiting for what has ended says the same"


def wait_event(site: Site, operation: str) -> None:
    """Wait for the event, which follows the end of an operation at once."""
    for _ in range(20):
        events = [event for event in objects(site, "event", "list") if event.get("operation") == operation]
        if events:
            assert events[0]["object"] == "repositories/outside"
            assert events[0]["severity"] in ("SEVERITY_WARNING", "SEVERITY_CRITICAL")
            return
    raise AssertionError("no event tells of the failure")
