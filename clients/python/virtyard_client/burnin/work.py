"""The work of a burn-in: workers that make machines, change them, run them and delete them, also across each other.

Each worker deletes what it made, and nothing else, so that whatever is left at the end was lost by the services.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import field_mask_pb2

from virtyard.api.inventory.v1 import virtual_disk_pb2, virtual_machine_pb2, vnic_pb2
from virtyard.api.jobs.v1 import job_pb2, operation_pb2
from virtyard.api.operations.v1 import (
    add_vnic_pb2,
    attach_virtual_disk_pb2,
    create_virtual_disk_pb2,
    create_virtual_machine_pb2,
    delete_virtual_disk_pb2,
    delete_virtual_machine_pb2,
    detach_virtual_disk_pb2,
    edit_virtual_machine_pb2,
    kill_virtual_machine_pb2,
    rename_virtual_machine_pb2,
    resize_virtual_disk_pb2,
    start_virtual_machine_pb2,
)
from virtyard_client.burnin.measured import Measured, Sample
from virtyard_client.client import Client
from virtyard_client.errors import ClientError
from virtyard_client.story import Story

MIB = 1 << 20
_EXPECTED = frozenset({"FAILED_PRECONDITION", "NOT_FOUND", "ABORTED"})
"""What another worker's change may be refused with: the machine is gone, or is in another state by now."""
_DELETE_TRIES = 5
_LATEST_ABORT_SECONDS = 0.2
_ENDS: dict[int, str] = {
    operation_pb2.OPERATION_STATE_SUCCEEDED: "done",
    operation_pb2.OPERATION_STATE_CANCELLED: "aborted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a burn-in works, and what its machines are."""

    pool: str
    """The resource name of the server pool."""
    repository: str
    """The resource name of the repository for the disks."""
    prefix: str
    """What the id of everything that it makes begins with."""
    disk_bytes: int
    """The size of each disk, in bytes."""
    memory_bytes: int
    """The memory of each machine, in bytes."""
    kernel: str
    """The path on the servers of a kernel to boot; empty for the firmware."""
    initrd: str
    """The path on the servers of the kernel's initial file system; may be empty."""
    aborts: float
    """The share of operations that are aborted at a moment drawn by chance, 0 to 1."""


@dataclass(slots=True)
class Work:
    """What all workers of one burn-in share."""

    client: Client
    place: Place
    chance: random.Random
    until: float
    """When the last cycle may begin, on the monotonic clock, in seconds."""
    measured: Measured = field(default_factory=Measured)
    operations: set[str] = field(default_factory=set)
    """The names of all operations that it asked for."""
    machines: dict[str, None] = field(default_factory=dict)
    """The machines that are there now, the oldest first."""
    cycles: int = 0

    async def run(self, workers: int) -> None:
        """Run cycles side by side until the time is over and each has ended.

        Raises:
            ClientError: a service stayed away, or broke down.
        """
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._worker(number))

    async def _worker(self, number: int) -> None:
        while time.monotonic() < self.until:
            self.cycles += 1
            await _Cycle(self, f"{self.place.prefix}-{number}-{self.cycles}").run()

    async def do(self, request: Any, *, abort: bool = True, others: bool = False) -> bool:
        """Ask for an operation and follow it to its end; tell whether it did what was asked.

        Args:
            request: the request, of whichever operation type.
            abort: it may be aborted, if chance says so.
            others: it is about what another worker may be changing, so it may be refused.
        """
        method = type(request).__name__.removesuffix("Request")
        began = time.monotonic()
        try:
            asked = await getattr(self.client.operations, method)(request)
        except ClientError as refusal:
            if refusal.unreachable or refusal.broken:
                raise
            self._count(f"{method} was refused", refusal, others=others)
            return False
        self.operations.add(asked.name)
        async with asyncio.TaskGroup() as group:
            if abort and self.chance.random() < self.place.aborts:
                group.create_task(self._abort(asked.name, self.chance.random() * _LATEST_ABORT_SECONDS))
            sample, error = await self._follow(asked, began)
        if error is not None and sample.end == "failed" and self._count(sample.title, error, others=others):
            return False
        self.measured.samples.append(sample)
        return sample.end == "done"

    def _count(self, what: str, error: ClientError, *, others: bool) -> bool:
        """Count what failed; tell whether it failed as it should, for another worker was quicker."""
        if others and error.code in _EXPECTED:
            self.measured.refused[error.reason] += 1
            return True
        self.measured.failures[f"{what}: {error.reason}: {error.message}"] += 1
        return False

    async def _abort(self, name: str, after: float) -> None:
        await asyncio.sleep(after)
        await self.client.longrunning.CancelOperation(operations_pb2.CancelOperationRequest(name=name))

    async def _follow(self, asked: Any, began: float) -> tuple[Sample, ClientError | None]:
        story, granted = Story(asked), 0.0
        while not story.done:
            async for _, story in self.client.watch_operation(asked):
                waiting = any(job.state == job_pb2.JOB_STATE_WAITING_FOR_LOCKS for job in story.jobs.values())
                if story.jobs and not waiting:
                    granted = granted or time.monotonic()
        now = time.monotonic()
        sample = Sample(
            title=story.title,
            seconds=now - began,
            waited=(granted or now) - began,
            end=_ENDS.get(story.state, "failed"),
        )
        return sample, story.error


class _Cycle:
    """One machine from its creation to its removal."""

    def __init__(self, work: Work, name: str) -> None:
        self._work = work
        self._place = work.place
        self._name = name
        self._machine, self._extra = f"virtualMachines/{name}", f"virtualDisks/{name}-extra"

    async def run(self) -> None:
        """Make the machine and a disk, do what can be done to them in an order drawn by chance, and delete both."""
        do = self._work.do
        made, extra = await asyncio.gather(do(self._create()), do(self._create_extra()))
        attached = False
        if made:
            self._work.machines[self._machine] = None
            if extra:
                attached = await do(
                    attach_virtual_disk_pb2.AttachVirtualDiskRequest(name=self._extra, virtual_machine=self._machine)
                )
            await self._run_it()
            await self._change_it(extra)
        await self._delete(made, extra, attached)

    async def _run_it(self) -> None:
        do = self._work.do
        started = await do(start_virtual_machine_pb2.StartVirtualMachineRequest(name=self._machine))
        await self._rename_another()
        if started:
            # Not left to chance: a machine that runs cannot be deleted.
            await do(kill_virtual_machine_pb2.KillVirtualMachineRequest(name=self._machine), abort=False)

    async def _change_it(self, extra: bool) -> None:
        changes: list[Any] = [
            rename_virtual_machine_pb2.RenameVirtualMachineRequest(name=self._machine, display_name="Burn-in"),
            edit_virtual_machine_pb2.EditVirtualMachineRequest(
                virtual_machine=virtual_machine_pb2.VirtualMachine(name=self._machine, cpus=2),
                update_mask=field_mask_pb2.FieldMask(paths=["cpus"]),
            ),
            add_vnic_pb2.AddVnicRequest(
                vnic_id=f"{self._name}-more",
                virtual_machine=self._machine,
                vnic=vnic_pb2.Vnic(network=vnic_pb2.VNIC_NETWORK_USER),
            ),
        ]
        if extra:
            size = 2 * self._place.disk_bytes
            changes.append(resize_virtual_disk_pb2.ResizeVirtualDiskRequest(name=self._extra, size_bytes=size))
        self._work.chance.shuffle(changes)
        # At once: those of one machine wait for each other, which is what their locks are for.
        await asyncio.gather(*(self._work.do(change, others=True) for change in changes))

    async def _rename_another(self) -> None:
        """Rename a machine that another worker is at work on."""
        there = [name for name in self._work.machines if name != self._machine]
        if there:
            name = self._work.chance.choice(there)
            request = rename_virtual_machine_pb2.RenameVirtualMachineRequest(name=name, display_name=self._name)
            await self._work.do(request, others=True)

    async def _delete(self, made: bool, extra: bool, attached: bool) -> None:
        if attached and self._work.chance.random() < 0.5:  # by the toss of a coin
            # Detached it outlives the machine, and is deleted by itself; attached it goes with the machine.
            detached = detach_virtual_disk_pb2.DetachVirtualDiskRequest(name=self._extra)
            attached = not await self._work.do(detached, others=True)
        if extra and not attached:
            await self._surely(delete_virtual_disk_pb2.DeleteVirtualDiskRequest(name=self._extra))
        if made:
            await self._surely(delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=self._machine))
            self._work.machines.pop(self._machine, None)

    async def _surely(self, request: Any) -> None:
        """Delete, again if chance aborted it; the last time it is left alone."""
        for remaining in reversed(range(_DELETE_TRIES)):
            if await self._work.do(request, abort=bool(remaining)):
                return

    def _create(self) -> Any:
        place = self._place
        boot = virtual_machine_pb2.BootSource(kernel_path=place.kernel, initrd_path=place.initrd)
        return create_virtual_machine_pb2.CreateVirtualMachineRequest(
            virtual_machine_id=self._name,
            virtual_machine=virtual_machine_pb2.VirtualMachine(
                server_pool=place.pool,
                memory_bytes=place.memory_bytes,
                cpus=1,
                boot=boot if place.kernel else None,
            ),
            disks=[create_virtual_machine_pb2.NewVirtualDisk(repository=place.repository, size_bytes=place.disk_bytes)],
            vnics=[create_virtual_machine_pb2.NewVnic(network=vnic_pb2.VNIC_NETWORK_USER)],
        )

    def _create_extra(self) -> Any:
        return create_virtual_disk_pb2.CreateVirtualDiskRequest(
            virtual_disk_id=f"{self._name}-extra",
            virtual_disk=virtual_disk_pb2.VirtualDisk(
                repository=self._place.repository, size_bytes=self._place.disk_bytes
            ),
        )
