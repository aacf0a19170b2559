"""The exposition: what Prometheus is shown over HTTP, and that nothing else is there."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from virtyard.kernel.errors import InvalidRequest, Unavailable, WrongState
from virtyard.kernel.invariants import Invariant, broken
from virtyard.runtime.exposition import serve_metrics
from virtyard.runtime.metrics import Metrics


async def ask(address: str, request: str) -> tuple[str, str]:
    """Send a request and return head and body of the answer."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return head, body


def get(path: str = "/metrics", accept: str = "") -> str:
    """Return a request as Prometheus sends it."""
    fields = f"Accept: {accept}\r\n" if accept else ""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"


def samples(body: str) -> dict[tuple[str, str], float]:
    """Return the value of each sample by its name and its labels."""
    return {
        (sample.name, ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in read_text(body)
        for sample in family.samples
    }


async def test_metrics_are_shown_as_they_were_counted() -> None:
    """Counters, gauges and cumulative buckets arrive in both formats, beside the metrics of the process."""
    metrics = Metrics()
    metrics.commits.add("jobs", by=3)
    metrics.jobs.set(2, "Create Virtual Machine", "RUNNING")
    for seconds in (0.02, 0.02, 9999.0):
        metrics.lock_wait.observe(seconds)
    async with serve_metrics(metrics, "127.0.0.1:0") as address:
        head, body = await ask(address, get())
        assert head.startswith("HTTP/1.1 200 OK")
        found = samples(body)
        assert found["virtyard_commits_total", "database=jobs"] == 3
        assert found["virtyard_jobs", "state=RUNNING,type=Create Virtual Machine"] == 2
        assert found["virtyard_lock_wait_seconds_bucket", "le=0.01"] == 0
        assert found["virtyard_lock_wait_seconds_bucket", "le=0.025"] == 2
        assert found["virtyard_lock_wait_seconds_bucket", "le=7200.0"] == 2
        assert found["virtyard_lock_wait_seconds_bucket", "le=+Inf"] == 3
        assert found["virtyard_lock_wait_seconds_sum", ""] == pytest.approx(9999.04)
        assert found["process_resident_memory_bytes", ""] > 1 << 20
        head, body = await ask(address, get(accept="application/openmetrics-text; version=1.0.0"))
        assert "Content-Type: application/openmetrics-text" in head
        families: Any = openmetrics.text_string_to_metric_families
        assert "virtyard_commits" in {family.name for family in families(body)}


async def test_nothing_but_metrics_is_served() -> None:
    """Other paths are 404, other methods 405, HEAD has no body, and what is no HTTP gets no answer."""
    async with serve_metrics(Metrics(), "127.0.0.1:0") as address:
        for path in ("/", "/metric", "/metrics/x", "/debug"):
            assert (await ask(address, get(path)))[0].startswith("HTTP/1.1 404")
        assert (await ask(address, "POST /metrics HTTP/1.1\r\n\r\n"))[0].startswith("HTTP/1.1 405")
        head, body = await ask(address, "HEAD /metrics HTTP/1.1\r\n\r\n")
        assert head.startswith("HTTP/1.1 200")
        assert body == ""
        assert await ask(address, "x" * 20_000) == ("", "")
        assert (await ask(address, "\r\n\r\n"))[0].startswith("HTTP/1.1 404")


async def test_invariants_begin_at_zero_and_rise_when_one_is_met() -> None:
    """Every known invariant is there from the start; an error that tells of one raises that one alone."""
    metrics = Metrics()
    assert metrics.safety_violations.values == {(invariant.value,): 0.0 for invariant in Invariant}
    metrics.note_violation(broken(Invariant.LOCK_COVERAGE, "nothing covers servers/a"))
    metrics.note_violation(Unavailable("no violation"))
    metrics.note_violation(ValueError("none either"))
    risen = {labels[0] for labels, value in metrics.safety_violations.values.items() if value}
    assert risen == {"lock_coverage"}


async def test_a_part_that_does_not_answer_is_told_stale() -> None:
    """One part that fails neither hides the others nor passes for fresh."""
    metrics = Metrics()

    async def works() -> None:
        metrics.due_items.set(7)

    async def fails() -> None:
        raise Unavailable("it is closing")

    metrics.on_scrape("fails", fails)
    metrics.on_scrape("works", works)
    async with serve_metrics(metrics, "127.0.0.1:0") as address:
        found = samples((await ask(address, get()))[1])
    assert found["virtyard_due_items", ""] == 7
    assert found["virtyard_scrape_stale", "part=fails"] == 1
    assert found["virtyard_scrape_stale", "part=works"] == 0


async def test_server_stops_at_once_though_somebody_holds_a_connection() -> None:
    """A client that says nothing does not hold up the end of the process."""
    async with serve_metrics(Metrics(), "127.0.0.1:0") as address:
        host, _, port = address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        assert (await ask(address, get()))[0].startswith("HTTP/1.1 200")
        began = time.monotonic()
    assert time.monotonic() - began < 10
    writer.close()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(host, int(port))


async def test_taken_and_malformed_addresses_are_refused() -> None:
    """A port that is taken is WRONG_STATE, what is no address INVALID_REQUEST."""
    async with serve_metrics(Metrics(), "127.0.0.1:0") as address:
        with pytest.raises(WrongState, match="is taken"):
            async with serve_metrics(Metrics(), address):
                pass
    for wrong in ("9100", ":9100", "host:", "host:port"):
        with pytest.raises(InvalidRequest, match="host:port"):
            async with serve_metrics(Metrics(), wrong):
                pass
