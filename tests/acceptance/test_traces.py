"""One trace from the client's call through jobs and locks to the agent's action; and the ids in the logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.asking import create_machine, new_disk, prepare, run
from tests.acceptance.site import open_site, until

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
