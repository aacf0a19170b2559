"""What the doctor looks at: services, jobs, locks, servers, webhooks and more of one site, read side by side."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.longrunning import operations_pb2

from virtyard.api.inventory.v1 import event_pb2, inventory_service_pb2, repository_pb2, server_pb2
from virtyard.api.jobs.v1 import automation_service_pb2, job_pb2, job_service_pb2
from virtyard.api.locks.v1 import lock_service_pb2
from virtyard_client.client import Client
from virtyard_client.command.request import message_class
from virtyard_client.context import Context, ContextError
from virtyard_client.doctor.certificates import Certificate, own_certificate, shown_certificate
from virtyard_client.errors import ClientError
from virtyard_client.schema.own import own_schema

SECONDS = 10.0
"""A service that has not answered after so long is out of reach."""
SETTLING = 6.0
"""Seconds in which the locks of an operation that has just ended are gone."""
_PAGE = 1000
_JUMPED = "type = CLOCK_JUMPED AND open = true"
_FULL = "type = DATABASE_UNWRITABLE AND open = true"
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"
_AUTOMATION = "virtyard.api.jobs.v1.AutomationService"
_WebhookStatus = automation_service_pb2.WebhookStatus
_PEOPLE = ("virtyard.api.jobs.v1.LockControlService", "ListPersonLocks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A file system of this machine that the site keeps something on."""

    path: str
    """A folder on it."""
    free_bytes: int
    """What is free there, in bytes."""
    total_bytes: int
    """Its size in bytes."""


@dataclass(slots=True, kw_only=True)
class Sight:
    """All that was seen; what could not be asked is empty."""

    now: datetime
    """When it was looked at."""
    failures: dict[str, str] = field(default_factory=dict)
    """Services that cannot be reached, with the reason."""
    starting: set[str] = field(default_factory=set)
    """Services that answer, and say that they do not serve yet."""
    unwritable: dict[str, str] = field(default_factory=dict)
    """Services that cannot write their database, with what they have told of it; empty if that could not be stored."""
    jobs: Sequence[job_pb2.Job] = ()
    """Every job that has not ended, the newest operation first."""
    orphans: Sequence[lock_service_pb2.Lock] = ()
    """Locks that operations hold which have ended, or are not there, seen twice."""
    people: Sequence[Any] = ()
    """The locks that people hold."""
    violations: Sequence[event_pb2.Event] = ()
    """Events of broken invariants that nobody has acknowledged."""
    webhooks: Sequence[automation_service_pb2.WebhookStatus] = ()
    """What every webhook has sent so far."""
    servers: Sequence[server_pb2.Server] = ()
    """Every server."""
    repositories: Sequence[repository_pb2.Repository] = ()
    """Every repository."""
    certificates: Sequence[Certificate] = ()
    """Certificates whose end is known."""
    clocks: Sequence[event_pb2.Event] = ()
    """The events that tell of a clock which was set, and that nobody has confirmed."""
    disks: Sequence[Disk] = ()
    """File systems of this machine."""


async def look(context: Context) -> Sight:
    """Look at everything; what cannot be reached is noted and keeps nothing else back."""
    sight = Sight(now=datetime.now(UTC))
    async with Client.connect(context) as client:

        async def ask(service: str, asked: Callable[[], Awaitable[None]]) -> None:
            try:
                async with asyncio.timeout(SECONDS):
                    await asked()
            except (ClientError, ContextError, TimeoutError) as error:
                sight.failures.setdefault(service, str(error) or f"it did not answer within {SECONDS:g} s")

        async def inventory() -> None:
            await _serving(client, "inventory", sight)
            sight.servers = [each async for each in _servers(client)]
            sight.repositories = [each async for each in _repositories(client)]
            wanted = inventory_service_pb2.ListEventsRequest(filter=_JUMPED, page_size=_PAGE)
            sight.clocks = (await client.inventory.ListEvents(wanted)).events
            sight.violations = await _violations(client)
            wanted = inventory_service_pb2.ListEventsRequest(filter=_FULL, page_size=_PAGE)
            for event in (await client.inventory.ListEvents(wanted)).events:
                sight.unwritable[event.object.partition("/")[2]] = event.message

        async def jobs() -> None:
            await _serving(client, "jobs", sight)
            sight.jobs = [each async for each in _open_jobs(client)]
            sight.people = await _people(client)
            sight.webhooks = await _webhooks(client)

        async def locks() -> None:
            await _serving(client, "locks", sight)

        await asyncio.gather(ask("inventory", inventory), ask("jobs", jobs), ask("locks", locks))
        if not sight.failures.keys() & {"jobs", "locks"}:
            await ask("locks", lambda: _look_for_orphans(client, sight))
    sight.certificates = await _certificates(context, sight.servers)
    sight.disks = _disks(context)
    return sight


async def _serving(client: Client, service: str, sight: Sight) -> None:
    """Ask a service whether it serves, and whether it can write its database."""
    if await _health(client, service, "") != _SERVING:
        sight.starting.add(service)
    if await _health(client, service, f"database/{service}") == _NOT_SERVING:
        sight.unwritable.setdefault(service, "")


async def _health(client: Client, service: str, part: str) -> bytes:
    """Ask for the health of a part; the health service's messages are too small to need their own package."""
    channel = client.channel(f"virtyard.api.{service}.v1")
    name = part.encode()
    check: Any = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=lambda _: b"\x0a" + bytes([len(name)]) + name if name else b"",
        response_deserializer=bytes,
    )
    try:
        return bytes(await check(None, timeout=SECONDS))
    except ClientError as error:
        if part and error.code == "NOT_FOUND":
            return b""  # an earlier release, or one that has just started
        raise


async def _servers(client: Client) -> AsyncIterator[server_pb2.Server]:
    request = inventory_service_pb2.ListServersRequest(page_size=_PAGE)
    while True:
        page = await client.inventory.ListServers(request)
        for server in page.servers:
            yield server
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def _repositories(client: Client) -> AsyncIterator[repository_pb2.Repository]:
    request = inventory_service_pb2.ListRepositoriesRequest(page_size=_PAGE)
    while True:
        page = await client.inventory.ListRepositories(request)
        for repository in page.repositories:
            yield repository
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def _violations(client: Client) -> Sequence[event_pb2.Event]:
    """Return the newest events of broken invariants that are open; a page of them is more than anybody reads."""
    request = inventory_service_pb2.ListEventsRequest(filter='type = "SAFETY_VIOLATED" AND open = true')
    return list((await client.inventory.ListEvents(request)).events)


async def _webhooks(client: Client) -> Sequence[automation_service_pb2.WebhookStatus]:
    """Return what every webhook has sent; one that is deleted meanwhile is none."""
    request = inventory_service_pb2.ListWebhooksRequest(page_size=_PAGE)
    found = []
    while True:
        page = await client.inventory.ListWebhooks(request)
        for webhook in page.webhooks:
            asked = automation_service_pb2.GetWebhookStatusRequest(name=webhook.name)
            try:
                found.append(await client.call(_AUTOMATION, "GetWebhookStatus", asked, _WebhookStatus))
            except ClientError as error:
                if error.code != "NOT_FOUND":
                    raise
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def _open_jobs(client: Client) -> AsyncIterator[job_pb2.Job]:
    """Yield the jobs of operations that have not ended; a state at a time, which the scheduler finds by an index."""
    for state in ("PENDING", "WAITING_FOR_LOCKS", "RUNNING", "ROLLING_BACK", "ROLLBACK_FAILED"):
        request = job_service_pb2.ListJobsRequest(filter=f"state = {state}", page_size=_PAGE)
        while True:
            page = await client.jobs.ListJobs(request)
            for job in page.jobs:
                yield job
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token


async def _people(client: Client) -> Sequence[Any]:
    """Return the locks that people hold; nothing from a site that has none such."""
    service, method = _PEOPLE
    schema = own_schema()
    if not schema.has_message(f"virtyard.api.jobs.v1.{method}Request"):
        return ()
    request: Any = message_class(schema, f"virtyard.api.jobs.v1.{method}Request")()
    response = message_class(schema, f"virtyard.api.jobs.v1.{method}Response")
    answer = await client.call(service, method, request, response)
    found: Sequence[Any] = next(iter(dict(answer.ListFields()).values()), ())
    return found


async def _held(client: Client) -> dict[int, lock_service_pb2.Lock]:
    """Return the locks that operations hold, by their fencing tokens."""
    request = lock_service_pb2.ListLocksRequest(page_size=_PAGE, filter="waiting = false")
    found = {}
    while True:
        page = await client.locks.ListLocks(request)
        found.update({lock.fencing_token: lock for lock in page.locks if lock.owner.startswith("operations/")})
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def _look_for_orphans(client: Client, sight: Sight) -> None:
    """Note locks of operations that have ended; locks are read before jobs, and again once releases had their time."""
    held = await _held(client)
    owners = {lock.owner.partition("#")[0] for lock in held.values()}
    ended = {owner for owner in owners if await _has_ended(client, owner)}
    suspects = {token for token, lock in held.items() if lock.owner.partition("#")[0] in ended}
    if suspects:
        await asyncio.sleep(SETTLING)
        sight.orphans = [lock for token, lock in (await _held(client)).items() if token in suspects]


async def _has_ended(client: Client, operation: str) -> bool:
    try:
        return bool((await client.longrunning.GetOperation(operations_pb2.GetOperationRequest(name=operation))).done)
    except ClientError as error:
        if error.code != "NOT_FOUND":
            raise
        return True


async def _certificates(context: Context, servers: Sequence[server_pb2.Server]) -> list[Certificate]:
    places = {f"the {service} service": address for service, address in context.addresses.items()}
    agents = {f"the agent of {server.name}": server.observed.agent_address for server in servers}
    shown = await asyncio.gather(
        *(
            shown_certificate(owner, address, context.credentials)
            for owner, address in (places | agents).items()
            if address
        )
    )
    return [each for each in (own_certificate(context.credentials), *shown) if each is not None]


def _disks(context: Context) -> list[Disk]:
    """Return the file systems of context and credentials: a site on one machine keeps its state beside them."""
    found: dict[int, Disk] = {}
    for place in (Path(context.source).parent if context.source else None, context.credentials):
        if place is None or not place.exists():
            continue
        usage = shutil.disk_usage(place)
        found.setdefault(place.stat().st_dev, Disk(path=str(place), free_bytes=usage.free, total_bytes=usage.total))
    return list(found.values())
