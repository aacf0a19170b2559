"""The ports of the two kinds of participant, over mutual TLS, with what a stale effect is to one and to the other."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc.aio

from tests.contract.inventory import samples
from tests.fakes.clock import FakeClock
from tests.integration.agent import scenario
from virtyard.agent import ledger as agent_ledger
from virtyard.agent.actions.catalogue import load
from virtyard.agent.main import open_agent
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.participant.v1 import participant_service_pb2_grpc as participant_grpc
from virtyard.api.type.v1 import lock_pb2
from virtyard.inventory import round as inventory_round
from virtyard.inventory.main import open_inventory
from virtyard.runtime.channel import open_channel
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.pki import Credentials
from virtyard.runtime.server import serve

DONE = participant.EFFECT_STATE_DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of participant, and the messages of an operation that has come far there."""

    identity: str
    """Whom its certificate is for."""
    checks: ModuleType
    """The module that looks the checks up."""
    opened: Callable[[Path], AbstractAsyncContextManager[Any]]
    """Opens it with its files below a folder; what that gives has `services`."""
    earlier: Callable[[Path], list[participant.Effect]]
    """The effects that are done before a stale one comes: attempt 2, epoch 5 and token 9 have been seen."""
    late: Callable[[Path, str], participant.Effect]
    """An effect that is stale in one way and right in all others."""


class Port:
    """The port of one participant, dialled as the scheduler does."""

    def __init__(self, kind: Kind, folder: Path, channel: grpc.aio.Channel) -> None:
        """Send over this channel; the participant's files are below `folder`."""
        self.kind = kind
        self._folder = folder
        self._stub: Any = participant_grpc.ParticipantServiceStub(channel)
        self._hello = 0

    async def greet(self, **known: Any) -> participant.HelloResponse:
        """Shake hands, with what is known and settled."""
        async with asyncio.timeout(30):
            answer: participant.HelloResponse = await self._stub.Hello(participant.HelloRequest(**known))
        self._hello = answer.hello
        return answer

    async def send(self, *effects: participant.Effect) -> list[participant.EffectRecord]:
        """Send effects in one message and return what came of each."""
        found = {}
        async with asyncio.timeout(30):
            async for response in self._stub.Execute(_once(*effects, hello=self._hello)):
                for report in response.reports:
                    if report.HasField("result"):
                        found[report.step_key, report.phase, report.attempt] = report.result
        return [found[effect.step_key, effect.phase, effect.attempt] for effect in effects]

    async def settle(self, effect: participant.Effect) -> participant.EffectRecord:
        """Settle an effect, and return what came of it."""
        request = participant.SettleRequest(
            step_key=effect.step_key, phase=effect.phase, attempt=effect.attempt, epoch=effect.epoch
        )
        async with asyncio.timeout(30):
            answer: participant.SettleResponse = await self._stub.Settle(request)
        return answer.record

    def late(self, kind: str) -> participant.Effect:
        """Return an effect that is stale in one way and right in all others."""
        return self.kind.late(self._folder, kind)

    def picture(self) -> dict[str, object]:
        """Return every row of every table, and every byte of every other file."""
        seen: dict[str, object] = {}
        for path in sorted(self._folder.rglob("*")):
            name = str(path.relative_to(self._folder))
            if path.suffix == ".db":
                with contextlib.closing(sqlite3.connect(path)) as sql:
                    seen[name] = list(sql.iterdump())
            elif path.is_file() and ".db" not in path.name:
                seen[name] = path.read_bytes()
            elif path.is_dir():
                seen[name] = "folder"
        return seen


@contextlib.asynccontextmanager
async def opened(kind: Kind, folder: Path, pki: Path, *, earlier: bool = True) -> AsyncIterator[Port]:
    """Run a participant on a port of its own, as far as `Kind.earlier` brings it, if that is wanted."""
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(kind.opened(folder))
        mine = Credentials.load(pki / kind.identity)
        server = await stack.enter_async_context(serve(served.services, credentials=mine, grace=1.0))
        channel = open_channel(server.address, Credentials.load(pki / "service/jobs"), kind.identity)
        stack.push_async_callback(channel.close)
        port = Port(kind, folder, channel)
        await port.greet()
        for effect in kind.earlier(folder) if earlier else ():
            (record,) = await port.send(effect)
            assert record.state == DONE, record
        yield port


def _pool_writes(_: Path) -> list[participant.Effect]:
    """Make the pool, write it from two other operations, and ask for one of these again under a higher epoch."""
    # What the ledger has is answered from it, and tells all the same that the operation was adopted.
    return [
        samples.effect("1/1/1", samples.create(samples.pool("p")), epoch=5, token=4),
        samples.effect("2/1/1", _described("first"), epoch=5, token=9, attempt=2),
        samples.effect("3/1/1", _labelled("a"), epoch=2, token=9),
        samples.effect("3/1/1", _labelled("a"), epoch=5, token=9),
    ]


def _late_write(_: Path, kind: str) -> participant.Effect:
    stale: dict[str, dict[str, Any]] = {
        "epoch": {"step_key": "3/1/2", "epoch": 2},
        "token": {"step_key": "1/1/2", "token": 8},
        "attempt": {"step_key": "2/1/1", "attempt": 1},
        "generation": {"step_key": "4/1/1", "expected": [("serverPools/p", "uid-p", 1)]},
        "lock": {"step_key": "4/1/1", "locks": samples.locked(("serverPools/p", lock_pb2.LOCK_MODE_IX, 9))},
    }
    fields = {"epoch": 5, "token": 9, **stale[kind]}
    return samples.effect(fields.pop("step_key"), _described("late"), **fields)


def _described(text: str) -> Any:
    pool = samples.pool("p")
    pool.description = text
    return samples.update(pool, "description")


def _labelled(text: str) -> Any:
    pool = samples.pool("p")
    pool.labels["a"] = text
    return samples.update(pool, "labels")


def _images(folder: Path) -> list[participant.Effect]:
    """Make the repository and two images, and ask for a third one again under a higher epoch."""
    return [
        scenario.create_repository(folder),
        _image(folder, "d1", step_key="1/1/2", epoch=5, token=4),
        _image(folder, "d2", step_key="2/1/1", epoch=5, token=9, attempt=2),
        _image(folder, "d3", step_key="3/1/1", epoch=2, token=9),
        _image(folder, "d3", step_key="3/1/1", epoch=5, token=9),
    ]


def _late_image(folder: Path, kind: str) -> participant.Effect:
    stale: dict[str, dict[str, Any]] = {
        "epoch": {"step_key": "3/1/2", "epoch": 2},
        "token": {"step_key": "1/1/3", "token": 8},
        "attempt": {"step_key": "2/1/1", "attempt": 1},
        "lock": {"step_key": "4/1/1"},
    }
    late = _image(folder, "d4", **{"epoch": 5, "token": 9, **stale[kind]})
    if kind == "lock":
        late.locks[0].mode = lock_pb2.LOCK_MODE_IX
    return late


def _image(folder: Path, uid: str, **fields: Any) -> participant.Effect:
    made = scenario.create_disk(folder, uid=uid, **fields)
    made.target = made.locks[0].object = "virtualDisks/d"
    return made


def _open_agent(folder: Path) -> AbstractAsyncContextManager[Any]:
    """Open an agent on simulated drivers, whose images are real files all the same."""
    return open_agent(scenario.settings(folder), SystemClock(), load())


KINDS = {
    "agent": Kind(identity="agent/s1", checks=agent_ledger, opened=_open_agent, earlier=_images, late=_late_image),
    "inventory": Kind(
        identity="service/inventory",
        checks=inventory_round,
        opened=lambda folder: open_inventory(folder, FakeClock()),
        earlier=_pool_writes,
        late=_late_write,
    ),
}
STALE = {
    "epoch": ("STALE_EPOCH", "check_epoch"),
    "token": ("STALE_TOKEN", "check_tokens"),
    "attempt": ("SUPERSEDED", "check_attempt"),
    "generation": ("GENERATION_MISMATCH", "check_expected"),
    "lock": ("INTERNAL_ERROR", "check_coverage"),
}
"""What can be stale about an effect: the reason of the refusal, and the check that refuses."""


async def _once(*effects: participant.Effect, hello: int) -> AsyncIterator[participant.ExecuteRequest]:
    yield participant.ExecuteRequest(effects=effects, hello=hello)
