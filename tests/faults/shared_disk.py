"""A disk at a real host whose size counts up: clients read and write it by effects, each over a wire of its own.

Both go through the agent's port and carry the reader's token, so the host's ledger knows of whoever has read (P2). All
that is lost on the way is asked for again under the same key, as a scheduler does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, cast

import grpc.aio
from google.protobuf.message import Message

from tests.acceptance.site import Site
from tests.torture.cuts import Wire
from virtyard.api.actions.v1 import (
    create_disk_file_pb2,
    create_repository_folder_pb2,
    resize_disk_file_pb2,
    scan_repository_pb2,
)
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.participant.v1 import participant_service_pb2_grpc as participant_grpc
from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel.errors import DeadlineExceeded, StaleToken, Superseded, Unavailable
from virtyard.processes.site import credentials_of
from virtyard.runtime.channel import open_channel
from virtyard.runtime.status import errors_named, from_status, peer_cancels_named

STEP = 512
"""By how many bytes each write makes the disk larger than what was read."""
ANSWER_SECONDS = 1.0
"""How long anybody waits for an answer before he asks again."""
_ASK_AGAIN_SECONDS = 0.02
_DONE = participant.EFFECT_STATE_DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A write that the host has acknowledged."""

    owner: str
    before: int
    """What its writer had read, in bytes."""
    after: int
    """What it wrote, in bytes."""


def lost(writes: Sequence[Write], size: int) -> list[Write]:
    """Return the acknowledged writes that nobody was to build upon: each must have been read once, or be the size."""
    read = Counter([*[write.before for write in writes], size])
    written = Counter(write.after for write in writes)
    return [write for write in writes if not read[write.after] == written[write.after] == 1]


class Disk:
    """The disk, and what all clients of its host share: the number of the handshake, and that of the next operation."""

    def __init__(self, site: Site, name: str, numbers: count[int]) -> None:
        """Use the disk `virtualDisks/<name>`, in a repository that has no other; operations are numbered by `numbers`.

        `Port.create` makes it.
        """
        self.object = f"virtualDisks/{name}"
        self.uid = f"{name}d"
        self.history: list[Write] = []
        self.numbers = numbers
        self.hello = 0
        self._folder = site.shared / name
        self._greeting = asyncio.Lock()

    @property
    def place(self) -> dict[str, Any]:
        """Return the fields of its repository in every message."""
        return {"repository_path": str(self._folder), "repository_uid": self._folder.name}

    @property
    def size(self) -> int:
        """Return how large the file is, in bytes."""
        return (self._folder / "disks" / f"{self.uid}.raw").stat().st_size

    async def greet(self, stub: Any, known: int) -> None:
        """Shake hands with the host, unless somebody has since this number was known."""
        async with self._greeting:
            if self.hello == known:
                answer = await stub.Hello(participant.HelloRequest(hello=known), timeout=ANSWER_SECONDS)
                self.hello = answer.hello


class Port:
    """The host's port as one client reaches it."""

    def __init__(self, channel: grpc.aio.Channel, disk: Disk) -> None:
        """Reach the host of a disk over this channel."""
        self._disk = disk
        self._stub: Any = participant_grpc.ParticipantServiceStub(channel)

    async def create(self) -> None:
        """Make the disk, one step large."""
        disk, number = self._disk, next(self._disk.numbers)
        folder = create_repository_folder_pb2.CreateRepositoryFolder(**disk.place)
        image = create_disk_file_pb2.CreateDiskFile(**disk.place, disk_uid=disk.uid, size_bytes=STEP, full=True)
        for step, message in enumerate((folder, image), 1):
            record = await self._run(self._effect(f"{number}/1/{step}", message, token=1))
            assert record.state == _DONE, record

    async def read(self, number: int, token: int) -> int:
        """Return how large the disk is, in bytes; the first step of an operation of this number."""
        files = [scan_repository_pb2.ScannedFile(object=self._disk.object, uid=self._disk.uid)]
        message = scan_repository_pb2.ScanRepository(**self._disk.place, files=files)
        record = await self._run(self._effect(f"{number}/1/1", message, token))
        assert record.state == _DONE, record
        result = scan_repository_pb2.ScanRepositoryResult()
        record.result.Unpack(result)
        # A full image counts whole, and there is no other one.
        return result.promised_bytes

    async def write(self, number: int, token: int, owner: str, before: int) -> bool:
        """Make the disk larger than what was read, the second step of the operation; False if the token is stale."""
        after = before + STEP
        message = resize_disk_file_pb2.ResizeDiskFile(**self._disk.place, disk_uid=self._disk.uid, size_bytes=after)
        for attempt in count(1):
            record = await self._run(self._effect(f"{number}/1/2", message, token, attempt))
            if record.state == _DONE:
                self._disk.history.append(Write(owner=owner, before=before, after=after))
                return True
            error = from_status(record.error)
            if isinstance(error, StaleToken):
                return False
            # Its host was killed in the middle of it, and nothing of it is left.
            assert isinstance(error, Unavailable), record
        raise AssertionError("there is always another attempt")

    def _effect(self, step_key: str, message: Message, token: int, attempt: int = 1) -> participant.Effect:
        lock = lock_pb2.LockToken(object=self._disk.object, fencing_token=token, mode=lock_pb2.LOCK_MODE_X)
        made = participant.Effect(
            step_key=step_key,
            phase=participant.PHASE_DO,
            attempt=attempt,
            epoch=1,
            target=self._disk.object,
            locks=[lock],
        )
        made.do.Pack(message)
        return made

    async def _run(self, effect: participant.Effect) -> participant.EffectRecord:
        """Ask until it is known what came of an effect."""
        while True:
            hello = self._disk.hello
            request = participant.ExecuteRequest(effects=[effect], hello=hello)
            try:
                with errors_named(), peer_cancels_named():
                    call = self._stub.Execute([request], timeout=ANSWER_SECONDS)
                    reports = [report async for response in call for report in response.reports]
                    (record,) = (report.result for report in reports if report.HasField("result"))
                    return cast(participant.EffectRecord, record)
            except Superseded:
                await self._greet(hello)
            except (Unavailable, DeadlineExceeded):
                await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def _greet(self, known: int) -> None:
        try:
            with errors_named(), peer_cancels_named():
                await self._disk.greet(self._stub, known)
        except (Unavailable, DeadlineExceeded):
            await asyncio.sleep(_ASK_AGAIN_SECONDS)


@asynccontextmanager
async def wired(address: str, pki: Path, identity: str) -> AsyncIterator[tuple[Wire, grpc.aio.Channel]]:
    """Open a wire to a server, and a channel over it."""
    wire = Wire(address)
    await wire.open()
    channel = open_channel(wire.address, credentials_of(pki, "service/jobs"), identity)
    try:
        yield wire, channel
    finally:
        await channel.close()
        await wire.close()
