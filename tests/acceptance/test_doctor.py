"""`virtyard doctor` on a real site: nothing, three faults that were planted, and one that a job repairs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.acceptance.asking import create_machine, prepare, run, start_machine
from tests.acceptance.site import PROGRAM, Site, open_site, until
from virtyard.api.operations.v1 import rename_virtual_machine_pb2, unpresent_repository_pb2
from virtyard.processes.site import ADMIN
from virtyard.runtime.pki import Authority

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with two servers and a machine."""
    with open_site("embedded", ("s1", "s2")) as opened:

        async def fill() -> None:
            async with opened.client() as client:
                await prepare(opened, client)
                await run(client, create_machine(opened, "web"))

        asyncio.run(fill())
        yield opened


def virtyard(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line without a terminal."""
    return subprocess.run(
        [PROGRAM, *words],
        env={**os.environ, "VIRTYARD_CONTEXT": str(site.context), "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def findings(site: Site) -> list[dict[str, Any]]:
    """Return what the doctor finds, but for the file systems of the machine that the test runs on."""
    ended = virtyard(site, "doctor", "--json")
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == (1 if found else 0), ended.stderr
    return [each for each in found if "on the file system of" not in each["what"]]


def repairable(site: Site) -> list[str]:
    """Return the commands of those findings that a job would repair."""
    return [each["command"] for each in findings(site) if each["repairable"]]


def issue_admin(site: Site, lifetime: timedelta) -> None:
    """Give the administrator another certificate."""
    pki = site.folder / "pki"
    Authority.load(pki).issue(ADMIN, pki / ADMIN, lifetime=lifetime)


def submit(site: Site, request: object) -> str:
    """Submit an operation; return its number."""

    async def ask() -> str:
        async with site.client() as client:
            method = type(request).__name__.removesuffix("Request")
            operation = await getattr(client.operations, method)(request)
            return str(operation.name).partition("/")[2]

    return asyncio.run(ask())


def test_a_healthy_site_has_no_finding(site: Site) -> None:
    """Nothing that works is told, a webhook that has given nothing up among it."""
    words = ("--url", "https://example.org/virtyard", "--event-filter", 'object = "virtualMachines/none"')
    created = virtyard(site, "webhook", "create", "pager", *words)
    assert created.returncode == 0, created.stderr
    assert findings(site) == []


def test_planted_faults_are_found_with_what_to_do(site: Site) -> None:
    """A certificate near its end, a silent host with an open step, an operation set aside: each, and no more."""
    issue_admin(site, timedelta(days=5))
    with site.paused("s1", "s2"):
        start = submit(site, start_machine("web"))
        rename = submit(
            site,
            rename_virtual_machine_pb2.RenameVirtualMachineRequest(name="virtualMachines/web", display_name="Web"),
        )
        held = virtyard(site, "job", "hold", f"{rename}-1", "--reason", "wait for the start")
        assert held.returncode == 0, held.stderr
        found = until(lambda: found if len(found := findings(site)) == 3 else [], 60.0, "three findings")
        by_command = {finding["command"]: finding for finding in found}
        assert sorted(by_command) == [
            f"virtyard job explain {start}-1",
            f"virtyard job release {rename}-1",
            "virtyard pki issue --help",
        ]
        silent, aside = by_command[f"virtyard job explain {start}-1"], by_command[f"virtyard job release {rename}-1"]
        assert "has lost contact with servers/s" in silent["what"]
        assert "user/admin set it aside" in aside["why"]
        assert aside["why"].endswith("wait for the start")
        assert found[-1] == aside, "the gravest come first"
        told = virtyard(site, "doctor")
        assert told.returncode == 1
        assert max(map(len, told.stdout.splitlines())) <= 80
        assert told.stdout.endswith(" findings.\n")
        explained = virtyard(site, "job", "explain", f"{rename}-1")
        assert f"operations/{rename} is set aside: user/admin set it aside" in explained.stdout
        assert f"virtyard job release {rename}-1" in explained.stdout
    released = virtyard(site, "job", "release", f"{rename}-1")
    assert released.returncode == 0, released.stderr
    issue_admin(site, timedelta(days=365))
    for operation in (start, rename):
        virtyard(site, "operation", "wait", operation)
    assert findings(site) == []


def test_a_server_that_is_behind_is_repaired_by_a_job(site: Site) -> None:
    """Only on request: without a terminal and without --yes it says what it would run."""
    # What would do the same as soon as the server is back.
    disabled = virtyard(site, "trigger", "update", "catch-up", "--state", "disabled")
    assert disabled.returncode == 0, disabled.stderr
    servers = ["servers/s1", "servers/s2"]
    submitted = submit(
        site, unpresent_repository_pb2.UnpresentRepositoryRequest(name="repositories/shared", servers=servers)
    )
    assert virtyard(site, "operation", "wait", submitted).returncode == 0
    with site.paused("s2"):
        presented = virtyard(site, "repository", "present", "shared", "--server", "s1", "--server", "s2")
        assert presented.returncode == 4, presented.stderr
    command = "virtyard server refresh s2"
    until(lambda: repairable(site) == [command], 30.0, "the server is back, and still behind")
    asked = virtyard(site, "doctor", "--repair")
    assert asked.returncode == 1
    assert f"would run: {command}" in asked.stderr
    repaired = virtyard(site, "doctor", "--repair", "--yes")
    assert "server refresh s2: operations/" in repaired.stderr, repaired.stderr
    until(lambda: not findings(site), 30.0, "the server has caught up")


def test_a_site_that_is_away_is_a_finding(site: Site) -> None:
    """Every service that does not answer is named; the last test, as nothing answers after it."""
    site.stop("up")
    found = findings(site)
    assert [finding["what"] for finding in found] == [
        f"the {service} service does not answer" for service in ("inventory", "jobs", "locks")
    ]
