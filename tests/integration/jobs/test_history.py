"""The history on a site: live, then archived, then gone; what is archived answers as before, and watchers see it go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.integration.jobs.site import LIMIT, Site
from virtyard.api.inventory.v1 import server_pool_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.operations.v1 import update_server_pool_pb2
from virtyard.api.type.v1 import watch_pb2
from virtyard.jobs import history
from virtyard.jobs.history import JOB_HISTORY, History, HistoryRetention, Keep
from virtyard.kernel.errors import AlreadyExists, InvalidRequest, NotFound
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.floor import Floors
from virtyard.runtime.status import errors_named

REQUEST_ID = "0d7bb0a4-6f3c-4f2e-9a47-0a63c05c4bd1"
NOTHING = Keep(age=timedelta(days=1), count=0)
ALL = Keep(age=timedelta(days=1), count=10**6)
ARCHIVED = replace(JOB_HISTORY, live=NOTHING, archive=ALL)


def described(text: str, request_id: str = "", reason: str = "") -> update_server_pool_pb2.UpdateServerPoolRequest:
    """Return a request that describes the pool."""
    pool = server_pool_pb2.ServerPool(name="serverPools/Finance", description=text)
    request = update_server_pool_pb2.UpdateServerPoolRequest(server_pool=pool, request_id=request_id)
    request.update_mask.paths.append("description")
    request.options.reason = reason
    return request


async def tidy(site: Site, retention: HistoryRetention) -> None:
    """Have the keeper of the history look once."""
    await History(site.jobs.scheduler.world.store, SystemClock(), retention).tidy()


async def listed(site: Site, filter_text: str = "", *, archived: bool = False, size: int = 1000) -> list[job_pb2.Job]:
    """Return all jobs of a list, page by page."""
    found: list[job_pb2.Job] = []
    token = ""
    while True:
        request = job_service_pb2.ListJobsRequest(
            filter=filter_text, archived=archived, page_size=size, page_token=token
        )
        page = await site.service.ListJobs(request)
        found += page.jobs
        token = page.next_page_token
        if not token:
            return found


async def test_an_archived_job_is_shown_as_it_was(site: Site) -> None:
    """Job, operation and lists say the same before and after, but that it is archived; the counters count the live."""
    live = await listed(site)
    operation = await site.jobs.scheduler.world.store.get(int(live[0].operation.partition("/")[2]))
    assert (await site.service.GetJobSummary(job_service_pb2.GetJobSummaryRequest())).total == len(live)
    commits = site.commits()["jobs"]
    await tidy(site, ARCHIVED)
    assert site.commits()["jobs"] > commits
    assert await listed(site) == []
    assert (await site.service.GetJobSummary(job_service_pb2.GetJobSummaryRequest())).total == 0
    archived = await listed(site, archived=True, size=3)
    assert all(job.archived for job in archived)
    for job in live:
        job.archived = True
    assert archived == live
    assert await listed(site, "archived = true") == live
    assert await site.service.GetJob(job_service_pb2.GetJobRequest(name=live[0].name)) == live[0]
    again = await site.jobs.scheduler.world.store.get(operation.number)
    assert (again.record, again.request, again.shape.plan) == (
        operation.record,
        operation.request,
        operation.shape.plan,
    )
    commits = site.commits()["jobs"]
    await tidy(site, ARCHIVED)
    assert site.commits()["jobs"] == commits, "nothing is written while there is nothing to do"


async def test_history_is_asked_by_every_property(site: Site) -> None:
    """By object, principal, state, type, time and reason, live and archived alike."""
    await site.succeed(described("a", reason="audit 7"))
    everything = await listed(site)
    await ask(site, everything, archived=False)
    await tidy(site, ARCHIVED)
    for job in everything:
        job.archived = True
    await ask(site, everything, archived=True)


async def ask(site: Site, everything: list[job_pb2.Job], *, archived: bool) -> None:
    """Ask a list every kind of question, and compare the answers with what is known to be there."""
    middle = everything[len(everything) // 2].create_time.ToDatetime().isoformat()
    questions: Mapping[str, Any] = {
        'object = "serverPools/Finance"': lambda job: job.object == "serverPools/Finance",
        'principal = "user/admin"': lambda job: True,
        'principal = "user/nobody"': lambda job: False,
        "state = COMPLETED": lambda job: True,
        "state = FAILED": lambda job: False,
        'title = "Create Server Pool"': lambda job: job.title == "Create Server Pool",
        'reason = "audit 7"': lambda job: job.reason == "audit 7",
        f"create_time >= {middle}Z": lambda job: job.create_time.ToDatetime().isoformat() >= middle,
        f"create_time < {middle}Z": lambda job: job.create_time.ToDatetime().isoformat() < middle,
        f'operation = "{everything[0].operation}"': lambda job: job.operation == everything[0].operation,
    }
    for text, matches in questions.items():
        expected = [job for job in everything if matches(job)]
        assert await listed(site, text, archived=archived, size=2) == expected, text


async def test_a_watcher_of_the_live_list_sees_jobs_removed(site: Site) -> None:
    """Who watches the list is told REMOVED; who resumes the story of one operation hears its end, and no more."""
    token = site.jobs.feed.token()
    submitted = await site.submit(described("b"))
    before = operation_pb2.OperationMetadata.FromString(submitted.metadata.value).resume_tokens["jobs"]
    await site.wait(submitted.name)
    request = job_service_pb2.WatchOperationRequest(
        name=submitted.name, options=watch_pb2.WatchOptions(resume_token=before)
    )
    story = [frame async for frame in site.service.WatchOperation(request)]
    await tidy(site, ARCHIVED)
    assert [frame async for frame in site.service.WatchOperation(request)] == story
    request.options.resume_token = story[-1].resume_token
    assert [frame async for frame in site.service.WatchOperation(request)] == []
    names = {job.name for job in await listed(site, archived=True)}
    removed: set[str] = set()
    watched = job_service_pb2.WatchJobsRequest(options=watch_pb2.WatchOptions(resume_token=token))
    async with asyncio.timeout(LIMIT):
        async for frame in site.service.WatchJobs(watched):
            if frame.kind == watch_pb2.FRAME_KIND_REMOVED:
                removed.add(frame.name)
            if names <= removed:
                break
    assert all(job.name in removed for job in await listed(site, archived=True))


async def test_a_request_id_is_answered_while_it_is_kept(site: Site) -> None:
    """From the archive too, and another request under it is refused; after its age the id may be used anew (P26)."""
    first = await site.succeed(described("a", REQUEST_ID))
    await tidy(site, ARCHIVED)
    assert (await site.submit(described("a", REQUEST_ID))).name == first.name
    with pytest.raises(AlreadyExists), errors_named():
        await site.submit(described("other", REQUEST_ID))
    # While the id counts its operation is kept, whatever else says that it should go.
    await tidy(site, replace(ARCHIVED, archive=NOTHING))
    assert (await site.submit(described("a", REQUEST_ID))).name == first.name
    await tidy(site, replace(ARCHIVED, request_ids=timedelta(0)))
    second = await site.succeed(described("other", REQUEST_ID))
    assert second.name != first.name


async def test_no_number_is_given_twice(site: Site) -> None:
    """Operations that are gone for good leave their numbers used, also for the next scheduler."""
    first = await site.succeed(described("a"))
    await tidy(site, replace(ARCHIVED, archive=NOTHING))
    with pytest.raises(NotFound), errors_named():
        await site.service.GetJob(job_service_pb2.GetJobRequest(name=f"jobs/{first.name.partition('/')[2]}-1"))
    await site.close_jobs()
    await site.open_jobs()
    second = await site.succeed(described("b"))
    assert int(second.name.partition("/")[2]) == int(first.name.partition("/")[2]) + 1


async def test_every_table_is_bounded(site: Site) -> None:
    """Hundreds of operations later no table of any database has more rows than what is kept accounts for."""
    kept = 20
    retention = HistoryRetention(
        live=Keep(age=timedelta(days=1), count=kept),
        archive=Keep(age=timedelta(days=1), count=kept),
        request_ids=timedelta(0),
        interval=60.0,
    )
    sizes = []
    for turn in range(2):
        for chunk in range(2):
            texts = [f"{turn} {chunk} {index}" for index in range(30)]
            await asyncio.gather(*(site.run(described(text)) for text in texts))
        await site.wait_released()
        await tidy(site, retention)
        settled = site.jobs.scheduler.world.store.settled
        floors = Floors(settled_below=settled.below, tokens_below=settled.tokens_below)
        await site.raise_floors(floors)
        sizes.append(await site.row_counts())
    ever_more = {"journal", "event"}  # both have bounds of their own, by count
    first, second = ({name: rows for name, rows in size.items() if name[1] not in ever_more} for size in sizes)
    assert second == first
    assert second["jobs", "operation"] == second["jobs", "archived_operation"] == kept
    assert second["inventory", "ledger"] == second["s1", "ledger"] == second["locks", "tombstone"] == 0


async def test_the_keeper_keeps_pace_with_what_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before it would look by time, what is live exceeds what is kept by as little as a batch."""
    monkeypatch.setattr(history, "_BATCH", 3)
    kept, never = 4, 3600.0
    retention = replace(ARCHIVED, live=Keep(age=timedelta(days=1), count=kept), interval=never)
    keeper = asyncio.create_task(History(site.jobs.scheduler.world.store, SystemClock(), retention).run())
    for turn in range(2):
        await asyncio.gather(*(site.run(described(f"{turn} {index}")) for index in range(6)))
        async with asyncio.timeout(LIMIT):
            while (await site.row_counts())["jobs", "operation"] >= kept + 3:
                await asyncio.sleep(0.01)
    keeper.cancel()


async def test_the_export_has_every_job_once_with_its_events(site: Site) -> None:
    """Live and archived ones, by filter and time; what is archived while it runs is neither left out nor told twice."""
    await site.succeed(described("a"))
    everything = {job.name for job in await listed(site)}
    half = replace(ARCHIVED, live=Keep(age=timedelta(days=1), count=2))
    told: list[job_service_pb2.ExportJobsResponse] = []
    async with asyncio.timeout(LIMIT):
        async for exported in site.service.ExportJobs(job_service_pb2.ExportJobsRequest()):
            if not told:
                await tidy(site, half)
            told.append(exported)
    assert sorted(each.job.name for each in told) == sorted(everything)
    assert any(event.type for each in told for event in each.events)
    assert all(event.job in ("", each.job.name) for each in told for event in each.events)
    first = told[0].job
    request = job_service_pb2.ExportJobsRequest(filter="archived = false OR archived = true")
    request.since.CopyFrom(first.create_time)
    found = [each.job.name async for each in site.service.ExportJobs(request)]
    assert found == [each.job.name for each in told if each.job.operation == first.operation]
    request.until.CopyFrom(first.create_time)
    with pytest.raises(InvalidRequest, match="until"), errors_named():
        _ = [each async for each in site.service.ExportJobs(request)]
