"""The metrics of real processes: what they say while work goes on, and that the dashboard asks for what is there."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance import promql
from tests.acceptance.asking import FAILED, ask, create_machine, new_disk, prepare, run, start_machine
from tests.acceptance.site import SPLIT, Site, open_site, until
from virtyard.api.operations.v1 import kill_virtual_machine_pb2, rename_virtual_machine_pb2
from virtyard.kernel.invariants import Invariant
from virtyard.runtime.context_file import Context
from virtyard.runtime.instruments import Histogram
from virtyard.runtime.metrics import Metrics

pytestmark = pytest.mark.timeout(180)
NOT_SHOWN: dict[str, str] = {}
"""Metrics of ours that the dashboard leaves out, each with the reason."""

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Seen:
    """A site, and everything that its metrics have shown so far."""

    def __init__(self, site: Site) -> None:
        """Begin with nothing."""
        self.site = site
        self.labels: dict[str, set[str]] = {}
        """The labels of each sample."""
        self.texts: dict[str, str] = {}
        """What each process showed last."""
        self.waiting: dict[str, Values] = {}
        """What the services showed while one operation ran and another waited for its locks."""
        self.last: dict[str, Values] = {}
        """What each process showed at the end."""

    def url(self, process: str) -> str:
        """Return where a process said that its metrics are."""
        log = (self.site.pids / f"{process}.log").read_text()
        return str(re.findall(r"shows metrics at (\S+)", log)[-1])

    def look(self, process: str) -> Values:
        """Return what a process shows now."""
        with urllib.request.urlopen(self.url(process), timeout=10) as answer:
            self.texts[process] = answer.read().decode()
        values: Values = {}
        for family in text_string_to_metric_families(self.texts[process]):
            for sample in family.samples:
                self.labels.setdefault(sample.name, set()).update(sample.labels)
                values[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
        return values


def total(values: Values, name: str, **labels: str) -> float:
    """Return the sum of all samples of a name that have these labels."""
    return sum(
        value for (found, have), value in values.items() if found == name and labels.items() <= dict(have).items()
    )


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    """A split site on which operations succeeded, failed and waited."""
    with pytest.MonkeyPatch.context() as patch:
        for process in (*SPLIT, "agent"):
            patch.setenv(f"VIRTYARD_{process.upper()}_METRICS", "127.0.0.1:0")
        with open_site("split") as site:
            found = Seen(site)
            asyncio.run(work(found))
            found.last = {process: found.look(process) for process in (*SPLIT, "s1")}
            yield found


async def work(seen: Seen) -> None:
    """Let the site do something of everything."""
    site = seen.site
    async with site.client() as client:
        await prepare(site, client, clustered=True)
        await run(client, create_machine(site, "web", [new_disk(4)], 1))
        await run(client, start_machine("web"))
        site.fail_file.write_text("3/1")
        await run(client, create_machine(site, "broken", [new_disk(4)]), ended=FAILED)
        site.fail_file.unlink()
        with site.paused("s1"):
            running = await ask(client, kill_virtual_machine_pb2.KillVirtualMachineRequest(name="virtualMachines/web"))
            renamed = rename_virtual_machine_pb2.RenameVirtualMachineRequest(
                name="virtualMachines/web", display_name="Web"
            )
            waiting = await ask(client, renamed)
            seen.waiting = await asyncio.to_thread(wait_queued, seen)
        for operation in (running, waiting):
            await client.wait(operation, timeout=40)


def wait_queued(seen: Seen) -> dict[str, Values]:
    """Wait until metrics show that one operation runs and another one waits for it."""

    def look() -> dict[str, Values] | None:
        found = {process: seen.look(process) for process in SPLIT}
        queued = total(found["locks"], "virtyard_locks_waiting") == 1
        shown = total(found["jobs"], "virtyard_jobs", state="WAITING_FOR_LOCKS") >= 1
        running = total(found["jobs"], "virtyard_jobs", state="RUNNING") >= 1
        aged = total(found["locks"], "virtyard_lock_oldest_wait_seconds") > 0
        return found if queued and shown and running and aged else None

    found = until(look, 20.0, "one operation runs, another waits for its locks, and metrics show it")
    assert found is not None
    return found


def test_open_work_is_shown_while_it_goes_on(seen: Seen) -> None:
    """What runs, what waits and for how long is seen from outside, at the moment."""
    jobs, locks = seen.waiting["jobs"], seen.waiting["locks"]
    assert total(jobs, "virtyard_operations_running") == 2
    assert total(jobs, "virtyard_jobs", type="Kill Virtual Machine", state="RUNNING") == 1
    assert total(jobs, "virtyard_jobs", type="Rename Virtual Machine", state="WAITING_FOR_LOCKS") == 1
    assert total(locks, "virtyard_lock_queue_depth") == 1
    assert total(locks, "virtyard_locks_held", mode="X") >= 1
    after = seen.last
    assert total(after["jobs"], "virtyard_operations_running") == 0
    assert total(after["jobs"], "virtyard_jobs") == 0
    assert total(after["locks"], "virtyard_locks_waiting") == 0


def test_ended_work_is_counted_by_type_and_state(seen: Seen) -> None:
    """Every operation and every job of them is counted once, with how it ended."""
    jobs = seen.last["jobs"]
    ended = "virtyard_operation_duration_seconds_count"
    assert total(jobs, ended) == 8  # server, pool, repository, two machines, start, kill, rename
    assert total(jobs, ended, type="Create Virtual Machine", state="SUCCEEDED") == 1
    assert total(jobs, ended, type="Create Virtual Machine", state="FAILED") == 1
    assert total(jobs, "virtyard_job_duration_seconds_count", type="Create Virtual Disk", state="FAILED") == 1
    assert total(jobs, "virtyard_job_duration_seconds_count", type="Join Cluster", state="COMPLETED") == 1
    assert total(jobs, "virtyard_operation_duration_seconds_sum", type="Rename Virtual Machine") > 0
    assert total(seen.last["locks"], "virtyard_lock_wait_seconds_count") == 8
    assert total(seen.last["locks"], "virtyard_lock_wait_seconds_sum") > 0


def test_stores_hosts_and_calls_are_counted(seen: Seen) -> None:
    """Commits, effects, reports and calls of each process are its own."""
    for process, database in (("jobs", "jobs"), ("locks", "locks"), ("inventory", "inventory"), ("s1", "ledger")):
        values = seen.last[process]
        assert total(values, "virtyard_commits_total", database=database) > 5
        assert total(values, "virtyard_commits_total") == total(values, "virtyard_commit_batch_size_count")
        assert total(values, "virtyard_commit_duration_seconds_count") == total(values, "virtyard_commits_total")
        assert total(values, "virtyard_commit_failures_total") == 0
        assert total(values, "virtyard_scrape_stale") == 0
        assert total(values, "virtyard_build_info") == 1
        assert total(values, "process_resident_memory_bytes") > 0
    agent, inventory = seen.last["s1"], seen.last["inventory"]
    made = {"participant": "agent", "action": "CreateDiskFile"}
    assert total(agent, "virtyard_effects_total", state="DONE", **made) >= 1
    assert total(agent, "virtyard_effects_total", state="FAILED", **made) >= 1
    assert total(agent, "virtyard_effect_duration_seconds_count", **made) >= 2
    assert total(agent, "virtyard_cluster_members", state="LIVE") == 1
    assert total(agent, "virtyard_guests", state="running") == 0
    assert total(agent, "virtyard_reports_total", outcome="taken") >= 1
    assert total(inventory, "virtyard_effects_total", participant="inventory", action="WriteObjects", state="DONE") > 5
    assert total(inventory, "virtyard_servers", state="ONLINE") == 1
    submit = "virtyard.api.operations.v1.OperationService/CreateVirtualMachine"
    assert total(seen.last["jobs"], "virtyard_rpc_handled_total", method=submit, code="OK") == 2
    assert total(seen.last["jobs"], "virtyard_rpc_duration_seconds_count", method=submit) == 2
    execute = "virtyard.api.participant.v1.ParticipantService/Execute"
    assert total(agent, "virtyard_rpc_streams_open", method=execute) == 1


def test_safety_violations_are_shown_and_none(seen: Seen) -> None:
    """Every process shows every known invariant from its start, and none was broken."""
    for values in seen.last.values():
        shown = {
            name
            for (found, labels), _ in values.items()
            if found == "virtyard_safety_violations_total"
            for _, name in labels
        }
        assert shown == {invariant.value for invariant in Invariant}
        assert total(values, "virtyard_safety_violations_total") == 0


def test_labels_never_name_objects(seen: Seen) -> None:
    """No name of an object, an operation or a person is a label: the number of series does not grow with a site."""
    names = re.compile(r'"[^"]*(web|broken|s1|operations/|servers/|user/)[^"]*"')
    for process, text in seen.texts.items():
        assert [line for line in text.splitlines() if names.search(line)] == [], process


def test_context_file_says_where_metrics_are(seen: Seen) -> None:
    """Who sets up the monitoring need not read logs."""
    shown = Context.read(seen.site.context).metrics
    assert {name: f"http://{address}/metrics" for name, address in shown.items()} == {
        name: seen.url(name) for name in SPLIT
    }


def test_every_instrument_is_shown_by_a_process_with_its_labels(seen: Seen) -> None:
    """A metric that is declared and never set would be a promise that nobody keeps."""
    for instrument in Metrics().instruments():
        name = f"{instrument.name}_count" if isinstance(instrument, Histogram) else instrument.name
        assert seen.labels.get(name) == set(instrument.labels), instrument.name


def test_dashboard_asks_for_what_processes_show(seen: Seen) -> None:
    """Each metric and label in each expression of the dashboard exists in what real processes showed."""
    found = list(promql.expressions())
    assert len(found) > 30
    for title, expression, legend in found:
        asked = promql.asked_by(expression, legend)
        assert asked.metrics, title
        for metric in asked.metrics:
            assert metric in seen.labels, f"{title}: nobody shows {metric}"
            assert asked.labels <= seen.labels[metric] | promql.TARGET_LABELS, f"{title}: {metric}"
            left = seen.labels[metric] | promql.TARGET_LABELS if asked.grouped is None else asked.grouped
            assert asked.shown <= left, f"{title}: the legend shows what is not left"


def test_dashboard_shows_every_metric_or_says_why_not(seen: Seen) -> None:
    """What is counted is looked at, or is left out on purpose."""
    del seen
    asked = {metric for _, expression, _ in promql.expressions() for metric in promql.asked_by(expression).metrics}
    shown = {re.sub(r"_(bucket|count|sum)$", "", metric) for metric in asked}
    ours = {instrument.name for instrument in Metrics().instruments()}
    assert ours - shown == set(NOT_SHOWN)
    assert shown - ours == {"process_cpu_seconds_total", "process_resident_memory_bytes"}


def test_dashboard_is_whole() -> None:
    """Panels have ids and places of their own, a description, and the data source that the user picks."""
    board: dict[str, Any] = promql.dashboard()
    assert {variable["name"] for variable in board["templating"]["list"]} == {"datasource", "instance"}
    rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    assert rows == ["Jobs", "Locks", "Stores and feeds", "Hosts", "Calls", "Safety"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}", panel["title"]


def test_expressions_are_taken_apart_rightly() -> None:
    """The check above sees a wrong metric, a wrong label and a wrong legend."""
    asked = promql.asked_by('sum by (le, type) (rate(a_bucket{instance=~"$instance", state!="X"}[5m])) / b', "{{type}}")
    assert asked.metrics == {"a_bucket", "b"}
    assert asked.labels == {"le", "type", "instance", "state"}
    assert asked.shown == {"type"}
    assert asked.grouped == frozenset({"type"})
    assert promql.asked_by("max(a)").grouped == frozenset()
    assert promql.asked_by("rate(a[5m])").grouped is None


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Debian's package prometheus")
def test_promtool_takes_expressions_and_exposition(seen: Seen, tmp_path: Path) -> None:
    """Prometheus' own tool finds nothing wrong with what is asked for and with what is shown."""
    rules = ["groups:", "- name: dashboard", "  rules:"]
    for number, (_, expression, _) in enumerate(promql.expressions()):
        plain = expression.replace("$__rate_interval", "5m").replace("$instance", ".*")
        rules += [f"  - record: dashboard:expression:{number}", f"    expr: '{plain}'"]
    file = tmp_path / "rules.yml"
    file.write_text("\n".join(rules) + "\n")
    checked = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for process, text in seen.texts.items():
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, ""), process
