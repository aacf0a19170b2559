"""What the tests of an agent share: effects to send, and a scheduler's end of the streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from google.protobuf.message import Message

from virtyard.agent.actions.catalogue import AnyAction, load
from virtyard.agent.facts import Resources
from virtyard.agent.main import Agent, Settings, open_agent
from virtyard.api.actions.v1 import create_disk_file_pb2, create_repository_folder_pb2, remove_disk_file_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.participant.v1 import participant_service_pb2_grpc as participant_grpc
from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel.permissions import Principal
from virtyard.runtime.clock import SystemClock
from virtyard.runtime.local import LocalChannel

MIB = 1 << 20
DONE = participant.EFFECT_STATE_DONE
FAILED = participant.EFFECT_STATE_FAILED
ABORTED = participant.EFFECT_STATE_ABORTED
NOT_BEGUN = participant.EFFECT_STATE_NOT_BEGUN
RESIDUE = participant.EFFECT_STATE_RESIDUE


def settings(folder: Path, driver: str = "sim") -> Settings:
    """What an agent below this folder is told."""
    (folder / "share").mkdir(exist_ok=True)
    return Settings(
        server="servers/s1",
        state=folder / "state",
        sockets=folder / "sockets",
        storage_roots=(folder / "share",),
        driver=driver,
        resources=Resources(memory_bytes=1 << 30, cpus=2),
    )


def place(folder: Path) -> dict[str, Any]:
    """The one repository's fields in every message."""
    return {"repository_path": str(folder / "share" / "repo"), "repository_uid": "r1"}


def create_repository(folder: Path) -> participant.Effect:
    """The effect that makes the repository."""
    return effect(
        "1/1/1", create_repository_folder_pb2.CreateRepositoryFolder(**place(folder)), target="repositories/r"
    )


def create_disk(
    folder: Path, step_key: str = "2/1/1", uid: str = "d1", size: int = MIB, *, full: bool = False, **fields: Any
) -> participant.Effect:
    """The effect that makes an image."""
    do = create_disk_file_pb2.CreateDiskFile(**place(folder), disk_uid=uid, size_bytes=size, full=full)
    undo = remove_disk_file_pb2.RemoveDiskFile(**place(folder), disk_uid=uid)
    return effect(step_key, do, undo=undo, target=f"virtualDisks/{uid}", **fields)


def effect(
    step_key: str,
    do: Message,
    *,
    undo: Message | None = None,
    target: str = "virtualMachines/db",
    token: int = 1,
    epoch: int = 1,
    **fields: Any,
) -> participant.Effect:
    """An effect under an exclusive lock on its target."""
    made = participant.Effect(
        step_key=step_key,
        attempt=fields.pop("attempt", 1),
        phase=fields.pop("phase", participant.PHASE_DO),
        epoch=epoch,
        target=target,
        locks=[lock_pb2.LockToken(object=target, fencing_token=token, mode=lock_pb2.LOCK_MODE_X)],
        **fields,
    )
    made.do.Pack(do)
    if undo is not None:
        made.undo.Pack(undo)
    return made


def undoing(done: participant.Effect) -> participant.Effect:
    """The same step's undo."""
    other = participant.Effect()
    other.CopyFrom(done)
    other.phase = participant.PHASE_UNDO
    return other


def settlement(sent: participant.Effect, *, stop: bool = False, epoch: int = 0) -> participant.SettleRequest:
    """The request that settles an effect."""
    return participant.SettleRequest(
        step_key=sent.step_key, phase=sent.phase, attempt=sent.attempt, epoch=epoch or sent.epoch, stop=stop
    )


class Scheduler:
    """A scheduler's end: streams of effects to one agent, and settlements."""

    def __init__(self, agent: Agent, channel: Any = None) -> None:
        """Call the agent over this channel, or in the same process under the rules of the wire."""
        self.agent = agent
        self.channel = channel or LocalChannel(agent.services, Principal.of("service/jobs"))
        self.stub = cast(Any, participant_grpc.ParticipantServiceStub(cast(Any, self.channel)))
        self.hello = 0
        self._greeting = asyncio.Lock()

    async def greet(self, **known: Any) -> participant.HelloResponse:
        """Shake hands: what is sent from now on belongs to this handshake."""
        async with asyncio.timeout(60):
            answer = await self.stub.Hello(participant.HelloRequest(**known))
        self.hello = answer.hello
        return cast(participant.HelloResponse, answer)

    async def _greet_once(self) -> None:
        async with self._greeting:
            if not self.hello:
                await self.greet()

    async def run(self, *effects: participant.Effect) -> list[participant.EffectRecord]:
        """Send effects in one message and return their records, in the order of the effects."""
        reports = await self.reports(*effects)
        found = {(report.step_key, report.phase): report.result for report in reports if report.HasField("result")}
        return [found[one.step_key, one.phase] for one in effects]

    async def reports(self, *effects: participant.Effect) -> list[participant.EffectReport]:
        """Send effects in one message and return every report until all have ended."""
        await self._greet_once()
        async with asyncio.timeout(60):
            call = self.stub.Execute(_once(effects, self.hello))
            return [report async for response in call for report in response.reports]

    async def settle(self, request: participant.SettleRequest) -> participant.EffectRecord:
        """Settle an effect."""
        await self._greet_once()
        async with asyncio.timeout(60):
            return cast(participant.EffectRecord, (await self.stub.Settle(request)).record)


async def _once(effects: Sequence[participant.Effect], hello: int) -> AsyncIterator[participant.ExecuteRequest]:
    yield participant.ExecuteRequest(effects=effects, hello=hello)


@contextlib.asynccontextmanager
async def scheduler(
    folder: Path, catalogue: dict[str, AnyAction] | None = None, driver: str = "sim", **options: Any
) -> AsyncIterator[Scheduler]:
    """An agent below this folder, and a scheduler that calls it."""
    actions = {**load(), **(catalogue or {})}
    async with open_agent(settings(folder, driver), SystemClock(), actions, **options) as agent:
        made = Scheduler(agent)
        try:
            yield made
        finally:
            await made.channel.close()


class Gate:
    """An action that waits to be let through, in the place of a real one."""

    def __init__(self, real: AnyAction) -> None:
        """Stand for `real`."""
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.calls = 0
        self._real = real

    @property
    def catalogue(self) -> dict[str, AnyAction]:
        """The catalogue's entry for it."""
        return {self._real.message.DESCRIPTOR.full_name: replace(self._real, do=self._do)}

    async def _do(self, message: Any, context: Any) -> Any:
        self.calls += 1
        self.begun.set()
        await self.open.wait()
        return await self._real.do(message, context)
