"""The burn-in on a real site: operations side by side, some aborted, and nothing left; what is left is found."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.asking import prepare
from tests.acceptance.site import PROGRAM, Site, open_site, until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site with a pool of two servers and a repository."""
    with open_site("embedded", ("s1", "s2")) as opened:

        async def fill() -> None:
            async with opened.client() as client:
                await prepare(opened, client)

        asyncio.run(fill())
        yield opened


def start(site: Site, *words: str) -> subprocess.Popen[str]:
    """Start a burn-in of this site."""
    environment = {**os.environ, "VIRTYARD_CONTEXT": str(site.context)}
    return subprocess.Popen(
        [PROGRAM, "burnin", *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def report_of(burning: subprocess.Popen[str], code: int) -> dict[str, Any]:
    """Wait for the end, which must be with this code, and return the report."""
    out, err = burning.communicate(timeout=150)
    assert burning.returncode == code, out + err
    report: dict[str, Any] = json.loads(out)
    return report


def test_a_sound_site_loses_nothing(site: Site) -> None:
    """Every operation is measured, some were aborted, none failed, and everything that was made is gone again."""
    before = site.files()
    report = report_of(start(site, "--minutes", "0.05", "--aborts", "0.3", "--json"), 0)
    titles = {row["operation"] for row in report["types"]}
    assert {"Create Virtual Machine", "Start Virtual Machine", "Delete Virtual Machine"} <= titles
    assert all(row["p50_ms"] <= row["p99_ms"] for row in report["types"])
    assert sum(row["aborted"] for row in report["types"]) > 0
    assert (report["leaked"], report["failures"]) == (0, {})
    assert site.files() == before
    assert site.guests() == []


def test_what_is_left_behind_is_found(site: Site) -> None:
    """A file that no disk names is named, and the command ends with 1."""
    burning = start(site, "--minutes", "0.01", "--workers", "1", "--aborts", "0", "--json")
    until(lambda: len(site.images()) > 0, 60, "the burn-in makes a disk")
    planted = site.shared / "shared" / "lost.qcow2"
    planted.write_text("nobody's")
    report = report_of(burning, 1)
    planted.unlink()
    assert report["leaks"]["objects"] == []
    assert len(report["leaks"]["files"]) == 1
    assert "lost.qcow2" in report["leaks"]["files"][0]


def test_bad_arguments_are_refused(site: Site) -> None:
    """What is not there is named with what is."""
    for words, told in (
        (("--server-pool", "nowhere"), "there is no serverPools/nowhere; there are serverPools/pool"),
        (("--repository", "none"), "there is no repositories/none; there are repositories/shared"),
        (("--workers", "0"), "--workers: at least 1"),
        (("--aborts", "2"), "a share from 0 to 1"),
    ):
        burning = start(site, *words)
        _, err = burning.communicate(timeout=60)
        assert burning.returncode == 2
        assert told in " ".join(err.split())
