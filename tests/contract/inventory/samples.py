"""Objects and effects as a scheduler would send them, for the tests of the inventory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf import any_pb2, field_mask_pb2
from google.protobuf.message import Message

from virtyard.api.inventory.v1 import (
    cluster_pb2,
    repository_pb2,
    server_pb2,
    server_pool_pb2,
    virtual_disk_pb2,
    virtual_machine_pb2,
    vnic_pb2,
    write_objects_pb2,
)
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.type.v1 import lock_pb2
from virtyard.kernel.names import wrap

GIB = 1 << 30


def server(name: str, *, pool: str = "", memory: int = 0, uid: str = "") -> server_pb2.Server:
    """Return a server; with memory it is one that has reported."""
    made = server_pb2.Server(name=f"servers/{name}", uid=uid or f"uid-{name}", display_name=name, server_pool=pool)
    if memory:
        made.observed.memory_bytes = memory
        made.state = server_pb2.SERVER_STATE_ONLINE
    return made


def pool(name: str, *, uid: str = "") -> server_pool_pb2.ServerPool:
    """Return a server pool."""
    return server_pool_pb2.ServerPool(
        name=f"serverPools/{name}",
        uid=uid or f"uid-{name}",
        display_name=name,
        state=server_pool_pb2.SERVER_POOL_STATE_ACTIVE,
    )


def cluster(name: str, *, of: str) -> cluster_pb2.Cluster:
    """Return a cluster of a pool."""
    return cluster_pb2.Cluster(name=f"clusters/{name}", uid=f"uid-{name}", server_pool=of)


def repository(name: str, *, capacity: int = 0) -> repository_pb2.Repository:
    """Return a repository."""
    return repository_pb2.Repository(name=f"repositories/{name}", uid=f"uid-{name}", capacity_bytes=capacity)


def disk(name: str, *, size: int = GIB, where: str = "", machine: str = "", position: int = 0, uid: str = "") -> Any:
    """Return a virtual disk."""
    return virtual_disk_pb2.VirtualDisk(
        name=f"virtualDisks/{name}",
        uid=uid or f"uid-{name}",
        size_bytes=size,
        repository=where,
        virtual_machine=machine,
        position=position,
    )


def machine(name: str, *, memory: int = GIB, on: str = "", uid: str = "") -> virtual_machine_pb2.VirtualMachine:
    """Return a virtual machine, placed on a server or not."""
    return virtual_machine_pb2.VirtualMachine(
        name=f"virtualMachines/{name}", uid=uid or f"uid-{name}", display_name=name, memory_bytes=memory, server=on
    )


def vnic(name: str, *, of: str, position: int = 0) -> vnic_pb2.Vnic:
    """Return a network card of a machine."""
    return vnic_pb2.Vnic(name=f"vnics/{name}", uid=f"uid-{name}", virtual_machine=of, position=position)


def create(message: Message) -> write_objects_pb2.ObjectWrite:
    """Return the write that makes an object."""
    return write_objects_pb2.ObjectWrite(create=wrap(message))


def update(message: Message, *paths: str) -> write_objects_pb2.ObjectWrite:
    """Return the write that takes these fields over."""
    return write_objects_pb2.ObjectWrite(
        update=write_objects_pb2.ObjectUpdate(object=wrap(message), update_mask=field_mask_pb2.FieldMask(paths=paths))
    )


def delete(name: str) -> write_objects_pb2.ObjectWrite:
    """Return the write that removes an object."""
    return write_objects_pb2.ObjectWrite(delete=name)


def packed(message: Message) -> any_pb2.Any:
    """Return the message as an effect carries it."""
    carried = any_pb2.Any()
    carried.Pack(message)
    return carried


def locked(*locks: tuple[str, lock_pb2.LockMode.ValueType, int]) -> list[lock_pb2.LockToken]:
    """Return lock tokens from (object, mode, token)."""
    return [lock_pb2.LockToken(object=name, mode=mode, fencing_token=token) for name, mode, token in locks]


def effect(
    step_key: str,
    *writes: write_objects_pb2.ObjectWrite,
    target: str = "",
    token: int = 1,
    epoch: int = 1,
    attempt: int = 1,
    after: str = "",
    reserve: Sequence[tuple[str, int]] = (),
    expected: Sequence[tuple[str, str, int]] = (),
    locks: Sequence[lock_pb2.LockToken] | None = None,
) -> participant.Effect:
    """Return an effect that makes these writes; it holds X on its target, which is that of the first write."""
    target = target or (written(writes[0]) if writes else "serverPools/none")
    return participant.Effect(
        step_key=step_key,
        attempt=attempt,
        epoch=epoch,
        phase=participant.PHASE_DO,
        target=target,
        after=after,
        locks=locks if locks is not None else locked((target, lock_pb2.LOCK_MODE_X, token)),
        expected=[participant.ObjectVersion(object=name, uid=uid, generation=g) for name, uid, g in expected],
        do=packed(
            write_objects_pb2.WriteObjects(
                writes=writes,
                memory_reservations=[
                    write_objects_pb2.MemoryReservation(server=name, memory_bytes=size) for name, size in reserve
                ],
            )
        ),
        undo=packed(write_objects_pb2.RevertWrites()),
    )


def undo(done: participant.Effect, *, attempt: int = 1) -> participant.Effect:
    """Return the effect that undoes another one."""
    undoing = participant.Effect()
    undoing.CopyFrom(done)
    undoing.phase, undoing.attempt, undoing.after = participant.PHASE_UNDO, attempt, ""
    del undoing.expected[:]
    undoing.ClearField("require")
    return undoing


def written(write: write_objects_pb2.ObjectWrite) -> str:
    """Return the name of the object that a write is about."""
    match write.WhichOneof("write"):
        case "create":
            typed = getattr(write.create, write.create.WhichOneof("object") or "")
        case "update":
            typed = getattr(write.update.object, write.update.object.WhichOneof("object") or "")
        case _:
            return write.delete
    return str(typed.name)


def results(record: participant.EffectRecord) -> list[Any]:
    """Return the typed objects that a done effect gave."""
    result = write_objects_pb2.WriteObjectsResult()
    assert record.result.Unpack(result)
    return [getattr(wrapped, wrapped.WhichOneof("object") or "") for wrapped in result.objects]
