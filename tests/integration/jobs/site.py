"""A whole site in one process: inventory, locks and jobs over local channels, and agents behind mutual TLS.

The same composition as `virtyard up`, with hooks on every durable transition, and actions that can be made to fail.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from google.longrunning import operations_pb2
from google.protobuf.message import Message

from tests.ports import lasting_address
from virtyard.agent.actions.catalogue import AnyAction, load
from virtyard.agent.actions.contract import Context, Outcome
from virtyard.agent.facts import Resources
from virtyard.agent.main import Agent, Settings, open_agent
from virtyard.api.inventory.v1 import (
    event_pb2,
    inventory_service_pb2,
    inventory_service_pb2_grpc,
    repository_pb2,
    server_pb2,
    server_pool_pb2,
    virtual_machine_pb2,
)
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from virtyard.api.locks.v1 import lock_service_pb2, lock_service_pb2_grpc
from virtyard.api.operations.v1 import (
    create_repository_pb2,
    create_server_pool_pb2,
    create_virtual_machine_pb2,
    discover_server_pb2,
)
from virtyard.api.type.v1 import annotations_pb2
from virtyard.inventory.main import Inventory, open_inventory
from virtyard.jobs.main import Jobs, open_jobs
from virtyard.jobs.webhooks import WEBHOOK_POLICY
from virtyard.kernel.errors import WrongState
from virtyard.kernel.permissions import Principal
from virtyard.kernel.plan import pack
from virtyard.kernel.view import View, select
from virtyard.locks.main import Locks, open_locks
from virtyard.processes.effect_log import logging_makes
from virtyard.processes.faults import StepHook, failing
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.floor import Floors
from virtyard.runtime.issued_roles import IssuedRoles
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.pki import Authority, Credentials
from virtyard.runtime.rpc import Service
from virtyard.runtime.server import serve

GIB = 1 << 30
MIB = 1 << 20
LIMIT = 20.0
"""Seconds after which a test that waits has failed."""

Fault = Callable[[Message, Context], Awaitable[None]]


@dataclass(kw_only=True)
class Faults:
    """What happens instead of, or before, an action: by the short name of its message."""

    before: dict[str, Fault] = field(default_factory=dict)
    """Is awaited before the action, or before its being an undo by `undo Name`; raises to make it fail."""
    refused: str = ""
    """The step, as `3/1`, that is refused wherever it is carried out, whatever the operation."""
    done: Counter[str] = field(default_factory=Counter)
    """How often each action was really done, undos apart, by `Name` and `undo Name`."""
    on_step: StepHook = lambda _key, _when: None
    """Is told each step at every participant; see `processes/faults.py`."""

    def step(self, key: str, when: str) -> None:
        """Tell whoever is to be told now, and refuse the step that is to be refused, before it acts."""
        self.on_step(key, when)
        if not when and self.refused and key.partition("/")[2] == self.refused:
            raise WrongState(f"step {self.refused} is refused", resource=key)

    def catalogue(self) -> Mapping[str, AnyAction]:
        """Return every action, with the faults in front of it."""
        return {name: replace(action, do=self._wrapped(action)) for name, action in load().items()}

    def _wrapped(self, action: AnyAction) -> Callable[[Any, Context], Awaitable[Outcome]]:
        name = action.message.DESCRIPTOR.name

        async def do(message: Any, context: Context) -> Outcome:
            fault = self.before.get(f"undo {name}" if context.undoing else name)
            if fault is not None:
                await fault(message, context)
            outcome = await action.do(message, context)
            self.done[f"undo {name}" if context.undoing else name] += 1
            return outcome

        return do


class Site:
    """A running site; made by `running`."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        """Use `running`."""
        self.folder = folder
        self.stack = stack
        self.faults = Faults()
        self.transitions: list[str] = []
        self.skipped = 0.0
        """Seconds that the scheduler's clock has skipped: a test passes time by adding to it."""
        self.jumped = 0.0
        """Seconds by which the wall clock of the scheduler's host has jumped."""
        self.webhooks = WEBHOOK_POLICY
        """How hard webhooks try, from the next start of the scheduler on."""
        self.on_transition: Callable[[str], None] = lambda _: None
        self.agents: dict[str, Agent] = {}
        self.addresses: dict[str, str] = {}
        self.inventory: Inventory
        self.locks: Locks
        self.jobs: Jobs
        self._agents: dict[str, AsyncExitStack] = {}
        self._near: dict[str, LocalChannel] = {}
        self._jobs_stack = AsyncExitStack()
        self.authority = Authority.create(folder / "pki", "virtyard.test")
        self.credentials = self._issue("service/jobs")

    @property
    def share(self) -> Path:
        """The folder that agents may use."""
        return self.folder / "share"

    def hook(self, name: str) -> None:
        """Note a durable transition."""
        self.transitions.append(name)
        self.on_transition(name)

    async def open(self) -> None:
        """Start inventory, locks and jobs."""
        clock = SystemClock()
        state = self.folder / "state"
        self.locks = await self.stack.enter_async_context(open_locks(state, clock, transition_hook=self.hook))
        await self._dial("locks", self.locks.services)
        self.inventory = await self.stack.enter_async_context(
            open_inventory(
                state,
                clock,
                self._near["locks"],
                # No agent reports here, and none is to count as silent for that however slow the machine is.
                silence=3600.0,
                transition_hook=self.hook,
                step_hook=self.faults.step,
            )
        )
        await self._dial("inventory", self.inventory.services)
        await self.open_jobs()
        self.stack.push_async_callback(self.close_jobs)

    async def open_jobs(self, *, start: bool = True) -> None:
        """Start the scheduler, and let it adopt what is open unless that is left to the caller."""
        self.jobs = await self._jobs_stack.enter_async_context(
            open_jobs(
                self.folder / "state",
                SystemClock(wall=lambda: time.time() + self.jumped, steady=lambda: time.monotonic() + self.skipped),
                inventory=self._near["inventory"],
                locks=self._near["locks"],
                credentials=self.credentials,
                transition_hook=self.hook,
                webhooks=self.webhooks,
                roles=IssuedRoles(self.authority.directory).of,
            )
        )
        operator = Principal.of("user/admin", frozenset({annotations_pb2.ROLE_ADMINISTRATOR}))
        self._near["jobs"] = await self._jobs_stack.enter_async_context(LocalChannel(self.jobs.services, operator))
        if start:
            await self.jobs.scheduler.start()

    async def close_jobs(self) -> None:
        """Stop the scheduler; what runs is left to be resumed."""
        await self._jobs_stack.aclose()
        self._jobs_stack = AsyncExitStack()

    async def open_agent(self, name: str) -> str:
        """Start the agent of a server, at its address if it had one, and return that."""
        stack = self._agents[name] = await self.stack.enter_async_context(AsyncExitStack())
        settings = Settings(
            server=f"servers/{name}",
            state=self.folder / "agents" / name,
            sockets=self.folder / "sockets" / name,
            storage_roots=(self.share,),
            driver="sim",
            resources=Resources(memory_bytes=64 * GIB, cpus=16),
        )
        agent = await stack.enter_async_context(
            open_agent(settings, SystemClock(), self._catalogue(), transition_hook=self.hook)
        )
        listen = self.addresses.get(name) or lasting_address()
        server = await stack.enter_async_context(
            serve(agent.services, listen, self._issue(f"agent/{name}"), on_closing=[agent.end_streams])
        )
        agent.facts.address = server.address
        self.agents[name], self.addresses[name] = agent, server.address
        return server.address

    def _catalogue(self) -> Mapping[str, AnyAction]:
        """Return every action, with the faults and the effect log around it."""
        return failing(logging_makes(self.faults.catalogue(), str(self.folder / "effects")), self.faults.step)

    async def close_agent(self, name: str) -> None:
        """Stop the agent of a server; what runs there is left to be taken up."""
        await self._agents.pop(name).aclose()

    async def show_offline(self, name: str) -> None:
        """Let the inventory find that a server has been silent for long enough."""
        await self.inventory.presence._store_state(f"servers/{name}", server_pb2.SERVER_STATE_OFFLINE, None)

    @property
    def service(self) -> Any:
        """The stub of JobService."""
        return job_service_pb2_grpc.JobServiceStub(self._near["jobs"])

    async def submit(self, request: Message) -> operations_pb2.Operation:
        """Submit a request of any operation."""
        return cast(
            operations_pb2.Operation,
            await self.service.SubmitOperation(job_service_pb2.SubmitOperationRequest(request=pack(request))),
        )

    async def wait(self, name: str) -> operations_pb2.Operation:
        """Watch an operation to its end and return it."""
        last = operations_pb2.Operation()
        async with asyncio.timeout(LIMIT):
            async for frame in self.service.WatchOperation(job_service_pb2.WatchOperationRequest(name=name)):
                if frame.HasField("operation"):
                    last = frame.operation
        assert last.done, f"{name} was watched to its end"
        return last

    async def run(self, request: Message) -> operations_pb2.Operation:
        """Submit and wait; return the operation."""
        return await self.wait((await self.submit(request)).name)

    async def succeed(self, request: Message) -> operations_pb2.Operation:
        """Submit, wait, and require success."""
        operation = await self.run(request)
        assert not operation.HasField("error"), operation.error
        return operation

    async def job_states(self, operation: str) -> list[str]:
        """Return the states of the operation's jobs, in their order."""
        number = operation.partition("/")[2]
        wanted = f'operation = "operations/{number}"'
        listed = await self.service.ListJobs(job_service_pb2.ListJobsRequest(filter=wanted))
        return [job_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_") for job in listed.jobs]

    async def view(self, *selections: Any) -> View:
        """Read the inventory as the scheduler does."""
        return await self.jobs.scheduler.world.view(selections)

    async def jobs_of(self, operation: str) -> list[job_pb2.Job]:
        """Return the jobs of an operation, in their order."""
        wanted = f'operation = "{operation}"'
        return list((await self.service.ListJobs(job_service_pb2.ListJobsRequest(filter=wanted))).jobs)

    async def events(self, object_name: str, least: str = "WARNING") -> list[event_pb2.Event]:
        """Return the events on an object that somebody should look at, or those of the severity given and above."""
        stub: Any = inventory_service_pb2_grpc.InventoryServiceStub(self._near["inventory"])
        asked = inventory_service_pb2.ListEventsRequest(filter=f'object = "{object_name}" AND severity >= {least}')
        answer = await stub.ListEvents(asked)
        return list(answer.events)

    async def objects(self) -> dict[str, Message]:
        """Return every object by its name."""
        rows = await self.inventory.database.read(
            lambda connection: connection.execute("SELECT name FROM object").fetchall()
        )
        view = await self.view(*(select(name) for (name,) in rows))
        return {name: found for (name,) in rows if (found := view._objects.get(name)) is not None}

    async def held_locks(self) -> list[str]:
        """Return what is locked or asked for."""
        stub: Any = lock_service_pb2_grpc.LockServiceStub(self._near["locks"])
        answer = await stub.ListLocks(lock_service_pb2.ListLocksRequest())
        return [lock.object for lock in answer.locks]

    async def wait_until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait for a condition, within the limit."""
        async with asyncio.timeout(LIMIT):
            while not await condition():
                await asyncio.sleep(0.01)

    async def wait_released(self) -> None:
        """Wait until nothing is locked any more: releases follow the end of an operation."""

        async def none_held() -> bool:
            return not await self.held_locks()

        await self.wait_until(none_held)

    def files(self) -> list[str]:
        """Return every file below the shared folder."""
        return sorted(str(path.relative_to(self.share)) for path in self.share.rglob("*") if path.is_file())

    def commits(self) -> dict[str, int]:
        """Return how many commits each database has made."""
        found = {
            "jobs": self.jobs.database.commits,
            "locks": self.locks.database.commits,
            "inventory": self.inventory.database.commits,
        }
        return found | {name: agent.ledger.commits for name, agent in self.agents.items()}

    async def raise_floors(self, floors: Floors) -> None:
        """Have every participant, and the lock service, forget at once what is below."""
        inventory = next(each for each in self.inventory.services if each.descriptor.name == "ParticipantService")
        keepers = [cast(Any, inventory.implementation)._ledger.floor, self.locks.service._store.floor]
        for keeper in [*keepers, *(agent.ledger.floor for agent in self.agents.values())]:
            # A batch each time, until a floor that is written already has nothing left below it.
            while keeper._written != keeper._refused.joined(floors):
                await keeper.raise_to(floors)

    async def row_counts(self) -> dict[tuple[str, str], int]:
        """Return how many rows each table of each database has, by database and table."""
        databases = {
            "jobs": self.jobs.database,
            "locks": self.locks.database,
            "inventory": self.inventory.database,
            **{name: agent.ledger._database for name, agent in self.agents.items()},
        }
        return {
            (name, table): rows
            for name, database in databases.items()
            for table, rows in (await database.read(_row_counts)).items()
        }

    async def _dial(self, name: str, services: tuple[Service, ...]) -> None:
        channel = LocalChannel(services, Principal.of("service/jobs"))
        self._near[name] = await self.stack.enter_async_context(channel)

    def _issue(self, identity: str) -> Credentials:
        folder = self.authority.issue(identity, self.folder / "certificates" / identity, hosts=["127.0.0.1"])
        return Credentials.load(folder)


def _row_counts(connection: sqlite3.Connection) -> dict[str, int]:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for (name,) in tables}


@asynccontextmanager
async def running(folder: Path, *servers: str) -> AsyncIterator[Site]:
    """Run a site on a folder, with the agents of these servers, until the block ends."""
    (folder / "share").mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        site = Site(folder, stack)
        for name in servers:
            await site.open_agent(name)
        await site.open()
        yield site


async def furnish(site: Site) -> None:
    """Discover every server, and create the pool Finance with a repository R."""
    for name, address in site.addresses.items():
        server = server_pb2.Server(agent_address=address)
        await site.succeed(discover_server_pb2.DiscoverServerRequest(server_id=name, server=server))
    pool = server_pool_pb2.ServerPool()
    await site.succeed(
        create_server_pool_pb2.CreateServerPoolRequest(
            server_pool_id="Finance", server_pool=pool, servers=[f"servers/{name}" for name in site.addresses]
        )
    )
    repository = repository_pb2.Repository(path=str(site.share / "R"), server_pool="serverPools/Finance")
    await site.succeed(create_repository_pb2.CreateRepositoryRequest(repository_id="R", repository=repository))


def machine(name: str, disks: int = 2, vnics: int = 1) -> create_virtual_machine_pb2.CreateVirtualMachineRequest:
    """Return a request for a machine of the pool Finance."""
    return create_virtual_machine_pb2.CreateVirtualMachineRequest(
        virtual_machine_id=name,
        virtual_machine=virtual_machine_pb2.VirtualMachine(
            server_pool="serverPools/Finance",
            memory_bytes=GIB,
            cpus=1,
            boot=virtual_machine_pb2.BootSource(kernel_path="/storage/boot/vmlinuz"),
        ),
        disks=[
            create_virtual_machine_pb2.NewVirtualDisk(repository="repositories/R", size_bytes=MIB) for _ in range(disks)
        ],
        vnics=[create_virtual_machine_pb2.NewVnic() for _ in range(vnics)],
    )


__all__ = ["GIB", "LIMIT", "MIB", "Fault", "Faults", "Site", "furnish", "machine", "running"]
