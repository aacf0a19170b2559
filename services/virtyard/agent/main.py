"""The composition root of an agent: drivers, ledger, runner and rpcs of one host, opened and closed in order.

Closing stops the agent, never the guests.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from virtyard.agent.actions.catalogue import AnyAction
from virtyard.agent.actions.contract import Host, Lane
from virtyard.agent.attachments import Attachments
from virtyard.agent.claim import HostClaim
from virtyard.agent.consoles import Consoles
from virtyard.agent.drivers.heartbeat.contract import DEFAULT_WATCHDOG_SECONDS
from virtyard.agent.drivers.heartbeat.disk import DiskHeartbeat
from virtyard.agent.drivers.hypervisor.choice import choose
from virtyard.agent.drivers.network.bridge import BridgeNetwork
from virtyard.agent.drivers.network.contract import Network
from virtyard.agent.drivers.network.sim import SimNetwork
from virtyard.agent.drivers.storage.directory import DirectoryStorage
from virtyard.agent.drivers.storage.roots import StorageRoots
from virtyard.agent.drivers.storage.sources import ReadUpload, reach_no_inventory
from virtyard.agent.facts import Facts, Resources, resources_of_host
from virtyard.agent.host_watch import HostWatch
from virtyard.agent.ledger import Ledger
from virtyard.agent.metrics import show_host
from virtyard.agent.other_hosts import OtherHosts
from virtyard.agent.rpc import AgentRpc, ParticipantRpc, services
from virtyard.agent.runner import Runner
from virtyard.agent.spent_guests import SpentGuests
from virtyard.kernel.clock import Clock
from virtyard.runtime.durable_file import sweep_asides
from virtyard.runtime.metrics import Metrics
from virtyard.runtime.rpc import Service
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.status import to_status


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an agent is told when it starts."""

    server: str
    """The resource name of its server, as `servers/s1`."""
    state: Path
    """The folder of its ledger and of its drivers' records."""
    sockets: Path
    """A folder with a short path, for the guests' monitors."""
    storage_roots: tuple[Path, ...]
    """The only folders that it touches for disks, kernels and heartbeat devices."""
    driver: str = "auto"
    """The hypervisor driver: `auto`, `qemu` or `sim`."""
    resources: Resources | None = None
    """What machines may use; all that the host has if None."""
    watchdog: float = DEFAULT_WATCHDOG_SECONDS
    """W of heartbeat devices that it lays out, in seconds."""
    lanes: Mapping[Lane, int] = field(default_factory=dict)
    """How many actions of a lane run at a time; absent lanes have their usual width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent that is open."""

    host: Host
    """What its actions use."""
    facts: Facts
    """Looks at the host."""
    ledger: Ledger
    """What it did."""
    runner: Runner
    """What it does."""
    watch: HostWatch
    """Sees what becomes of its storage, links and heartbeats."""
    spent: SpentGuests
    """Forgets guests that nobody needs any more."""
    services: list[Service]
    """What it serves."""
    end_streams: Callable[[], None]
    """Breaks off what is no watch, as the first thing of a stop."""


@asynccontextmanager
async def open_agent(
    settings: Settings,
    clock: Clock,
    catalogue: Mapping[str, AnyAction],
    *,
    read_upload: ReadUpload = reach_no_inventory,
    transition_hook: Callable[[str], None] | None = None,
    commit_hook: Callable[[sqlite3.Connection], None] | None = None,
    patience: float = 0.0,
    metrics: Metrics | None = None,
) -> AsyncIterator[Agent]:
    """Open an agent and take up what an earlier one left.

    Args:
        settings: what it is told.
        clock: the process's clock.
        catalogue: the actions that it knows.
        read_upload: reads uploads from the inventory.
        transition_hook: is told every durable transition; see `Database.open`.
        commit_hook: makes commits fail; see `Database.open`.
        patience: for how many seconds running effects may go on when it closes.
        metrics: of the process; nowhere that is read if None.

    Raises:
        WrongState: another agent has this state open.
        Unsupported: the driver that was asked for does not work here.
    """
    metrics = metrics or Metrics()
    async with AsyncExitStack() as stack:
        ledger = await Ledger.open(
            settings.state / "ledger.db",
            clock,
            to_status,
            transition_hook=transition_hook,
            commit_hook=commit_hook,
        )
        stack.push_async_callback(ledger.close)
        # Nobody else writes here while the ledger is open.
        sweep_asides(settings.state)
        ledger.measure(metrics)
        bridges = BridgeNetwork()
        stack.callback(bridges.close)
        choice = await choose(
            settings.driver, state=settings.state, sockets=settings.sockets, clock=clock, network=bridges
        )
        simulated = choice.hypervisor.name == "sim"
        sim = SimNetwork(state=settings.state / "sim")
        network: Network = stack.enter_context(closing(sim)) if simulated else bridges
        await network.probe()
        await choice.hypervisor.open()
        stack.push_async_callback(choice.hypervisor.close)
        roots = StorageRoots(settings.storage_roots)
        storage = DirectoryStorage(roots=roots, program="" if simulated else "qemu-img")
        stack.callback(storage.close)
        heartbeat = DiskHeartbeat(
            state=settings.state / "heartbeat", roots=roots, clock=clock, watchdog=settings.watchdog
        )
        await heartbeat.open()
        stack.push_async_callback(heartbeat.close)
        claim = HostClaim(settings.state / "claim.json")
        watch = HostWatch(path=settings.state / "watched.json", roots=roots, network=network, heartbeat=heartbeat)
        await watch.open()
        stack.push_async_callback(watch.close)
        facts = Facts(
            server=settings.server,
            resources=settings.resources or resources_of_host(),
            hypervisor=choice.hypervisor,
            hypervisor_reason=choice.reason,
            storage=storage,
            heartbeat=heartbeat,
            network=network,
            claim=claim,
            clock=clock,
            position=lambda: ledger.position,
            life=lambda: ledger.life,
            start=ledger.start,
            watch=watch,
        )
        host = Host(
            server=settings.server,
            hypervisor=choice.hypervisor,
            storage=storage,
            heartbeat=heartbeat,
            network=network,
            roots=roots,
            claim=claim,
            attachments=Attachments(settings.state / "repositories.json", lambda: ledger.floor.settled_below),
            facts=facts.look,
            read_upload=read_upload,
        )
        runner = Runner(
            ledger=ledger,
            catalogue=catalogue,
            host=host,
            clock=clock,
            describe=to_status,
            transition_hook=transition_hook,
            metrics=metrics,
            lanes=settings.lanes,
        )
        stack.push_async_callback(runner.close, patience=patience)
        metrics.on_scrape("agent.host", lambda: show_host(metrics, host, runner.running))
        participant_rpc = ParticipantRpc(runner, ledger, OtherHosts(catalogue, host, to_status))
        stack.push_async_callback(participant_rpc.close)
        floor = TaskScope("agent.floor")
        _ = floor.start(ledger.floor.run(), name="floor", vital=True)
        stack.push_async_callback(floor.close)
        spent = SpentGuests(choice.hypervisor, is_free=lambda: not claim.owner_id)
        stack.push_async_callback(spent.close)
        consoles = Consoles(choice.hypervisor)
        stack.push_async_callback(consoles.close)
        served = services(participant_rpc, AgentRpc(facts.look, ledger, consoles))

        def end_streams() -> None:
            participant_rpc.end_streams()
            consoles.end()

        yield Agent(
            host=host,
            facts=facts,
            ledger=ledger,
            runner=runner,
            watch=watch,
            spent=spent,
            services=served,
            end_streams=end_streams,
        )
