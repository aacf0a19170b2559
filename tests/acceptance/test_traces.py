"""One trace from the client's call through jobs and locks to the agent's action; and the ids in the logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import FAILED, create_machine, new_disk, prepare, run
from tests.acceptance.site import Site, open_site, until

TRACE = "0af7651916cd43dd8448eb211c80319c"


def spans(file: Path) -> list[dict[str, Any]]:
    """Return the spans of the client's trace that have been written so far."""
    lines = file.read_text().splitlines() if file.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("}")]
    return [span for span in found if span["context"]["trace_id"] == f"0x{TRACE}"]


async def test_trace_leads_from_the_call_through_jobs_and_locks_to_the_agent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proves that the call, the operation, its locks and the agent's action are one trace, over process borders."""
    file = tmp_path / "traces.jsonl"
    monkeypatch.setenv("VIRTYARD_TRACES", f"file:{file}")
    monkeypatch.setenv("VIRTYARD_LOG_FORMAT", "json")
    with open_site("split") as site:
        async with site.client() as client:
            await prepare(site, client)
            monkeypatch.setenv("TRACEPARENT", f"00-{TRACE}-b7ad6b7169203331-01")
            # A program that uses OpenTelemetry itself would go first; the test's own process does not.
            monkeypatch.delitem(__import__("sys").modules, "opentelemetry.propagate", raising=False)
            story = await run(client, create_machine(site, "web", [new_disk(1)]))
            # The first step of the next one is refused, which is worth a line in two logs.
            site.fail_file.write_text("1/1")
            failed = await run(client, create_machine(site, "never", [new_disk(1)]), ended=FAILED)
        wanted = {
            ("jobs", "virtyard.api.operations.v1.OperationService/CreateVirtualMachine"),
            ("jobs", "operation Create Virtual Machine"),
            ("locks", "ask for locks"),
            ("agent s1", "action CreateDiskFile"),
        }

        def seen() -> set[tuple[str, str]]:
            return {(span["resource"]["attributes"]["service.name"], span["name"]) for span in spans(file)}

        until(lambda: wanted <= seen(), 20.0, f"all of {wanted} are in the trace")
        operation = next(span for span in spans(file) if span["name"] == "operation Create Virtual Machine")
        assert operation["attributes"]["virtyard.operation"] == story.name

        # The same trace in the logs of the processes, with the operation and the job that each line is about.
        number = failed.name.partition("/")[2]
        refused, *_ = until(lambda: lines_about(site, "inventory", "was refused"), 10.0, "the inventory logs it")
        assert (refused["job"], refused["trace"], refused["service"]) == (f"jobs/{number}-1", TRACE, "inventory")
        ended, *_ = until(lambda: lines_about(site, "jobs", f"{failed.name} ended"), 10.0, "jobs logs it")
        assert (ended["operation"], ended["trace"], ended["service"]) == (failed.name, TRACE, "jobs")
        assert "step 1/1 fails, for a test" in ended["message"]


def lines_about(site: Site, process: str, words: str) -> list[dict[str, Any]]:
    """Return the log lines of a process that say this; what it says to whoever started it is no log line."""
    lines = (site.pids / f"{process}.log").read_text().splitlines()
    logged = [json.loads(line) for line in lines if line.startswith("{")]
    assert len(logged) > 0
    return [line for line in logged if words in line["message"]]
