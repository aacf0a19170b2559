"""What objects show as allowed is what a preview accepts: every operation type on every object of a site.

The site has each kind of object in the states that operations ask about. Each example's request is asked as a preview
with every object in the place of its own, and compared with what the objects are read with.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc.aio
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.contract.inventory.samples import create, effect
from tests.examples.contract import load as load_examples
from tests.integration.jobs.site import MIB, Site, running
from virtyard.api.inventory.v1 import (
    cluster_pb2,
    filter_pb2,
    heartbeat_device_pb2,
    image_pb2,
    inventory_service_pb2,
    inventory_service_pb2_grpc,
    network_pb2,
    repository_pb2,
    schedule_pb2,
    server_pb2,
    server_pool_pb2,
    trigger_pb2,
    virtual_disk_pb2,
    virtual_machine_pb2,
    vnic_pb2,
    webhook_pb2,
)
from virtyard.api.operations.v1 import refresh_server_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.api.participant.v1 import participant_service_pb2_grpc
from virtyard.inventory.allowed_operations import AllowedOperations
from virtyard.kernel.names import collection_of, kinds
from virtyard.kernel.options import fields_of, hint_of, is_repeated, is_required, reference_type
from virtyard.kernel.plan import pack
from virtyard.operations.catalogue import load
from virtyard.runtime.status import named

SERVICE = "virtyard.api.operations.v1.OperationService."
GIB = 1 << 30

BY_OTHERS = {
    ("DeleteServerPool", "serverPools/pool"): "machines and repositories use it",
    ("DeleteRepository", "repositories/shared"): "it holds disks",
    ("DeleteImage", "images/installer"): "it is in a machine's drive",
    ("RemoveServerFromServerPool", "servers/s1"): "a machine runs on it",
    ("RemoveServerFromServerPool", "servers/s5"): "a machine runs on it",
    ("RemoveServerFromServerPool", "servers/s7"): "it is the last member of its cluster",
    ("EditVirtualMachine", "virtualMachines/busy"): "the request asks for more than its restart policy",
    ("EditVirtualMachine", "virtualMachines/lost"): "the request asks for more than its restart policy",
    ("EditVirtualMachine", "virtualMachines/leaving"): "the request asks for more than its restart policy",
    ("ForgetServer", "servers/s4"): "the request does not force it",
}
"""What is refused though the object's own record allows it, and why: the request, or other objects, forbid it."""


def site_objects() -> list[Message]:
    """Return a site's objects, each kind in the states that operations ask about."""
    running_state, stopped = (
        virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING,
        virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED,
    )
    deleting = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_DELETING
    return [
        pool("pool", server_pool_pb2.SERVER_POOL_STATE_ACTIVE),
        pool("empty", server_pool_pb2.SERVER_POOL_STATE_ACTIVE),
        pool("making", server_pool_pb2.SERVER_POOL_STATE_CREATING),
        *(server(name, "pool") for name in ("s1", "s2")),
        server("s3"),
        server("s4", state=server_pb2.SERVER_STATE_OFFLINE),
        server("s5", "pool", state=server_pb2.SERVER_STATE_OFFLINE),
        server("s7", "empty"),
        repository("shared", repository_pb2.REPOSITORY_STATE_READY),
        repository("spare", repository_pb2.REPOSITORY_STATE_READY),
        repository("leaving", repository_pb2.REPOSITORY_STATE_DELETING),
        image("debian", image_pb2.IMAGE_FORMAT_DISK),
        image("installer", image_pb2.IMAGE_FORMAT_ISO),
        image("leaving", image_pb2.IMAGE_FORMAT_ISO, image_pb2.IMAGE_STATE_DELETING),
        network("lan", network_pb2.NETWORK_STATE_READY),
        network("unused", network_pb2.NETWORK_STATE_READY),
        machine("web", stopped, cdrom="images/installer"),
        machine("poolless", stopped, pool=""),
        machine("busy", running_state, on="servers/s1"),
        machine("lost", running_state, on="servers/s5"),
        machine("leaving", deleting),
        disk("web-disk0", of="web"),
        disk("busy-disk0", of="busy"),
        disk("more"),
        disk("leaving", state=virtual_disk_pb2.VIRTUAL_DISK_STATE_DELETING),
        card("web-vnic0", of="web", bridged_network="networks/lan", network=vnic_pb2.VNIC_NETWORK_BRIDGED),
        card("busy-vnic0", of="busy"),
        heartbeat_device_pb2.HeartbeatDevice(
            name="heartbeatDevices/empty", server_pool="serverPools/empty", path="/storage/hb", slots=32
        ),
        cluster_pb2.Cluster(
            name="clusters/empty",
            server_pool="serverPools/empty",
            heartbeat_device="heartbeatDevices/empty",
            members=[cluster_pb2.ClusterMember(server="servers/s7", slot=1)],
            state=cluster_pb2.CLUSTER_STATE_ACTIVE,
        ),
        *definitions(),
    ]


def definitions() -> list[Message]:
    """Return an object of each kind that lives in the inventory alone."""
    asked = pack(refresh_server_pb2.RefreshServerRequest(name="servers/s1"))
    return [
        filter_pb2.Filter(name="filters/f", matches="type = None", action=filter_pb2.FILTER_ACTION_PAUSE),
        schedule_pb2.Schedule(name="schedules/s", cron="30 2 * * *", time_zone="UTC", request=asked),
        trigger_pb2.Trigger(name="triggers/t", event_filter="type = SERVER_ONLINE", request=asked),
        webhook_pb2.Webhook(name="webhooks/w", url="https://example.org/"),
    ]


def pool(name: str, state: server_pool_pb2.ServerPoolState.ValueType) -> Message:
    """Return a pool."""
    return server_pool_pb2.ServerPool(name=f"serverPools/{name}", state=state)


def server(
    name: str, in_pool: str = "", *, state: server_pb2.ServerState.ValueType = server_pb2.SERVER_STATE_ONLINE
) -> Message:
    """Return a server; nobody listens at its address."""
    made = server_pb2.Server(name=f"servers/{name}", state=state, agent_address="127.0.0.1:1")
    made.server_pool = f"serverPools/{in_pool}" if in_pool else ""
    made.observed.memory_bytes = 64 * GIB
    return made


def repository(name: str, state: repository_pb2.RepositoryState.ValueType) -> Message:
    """Return a repository of s1 and s2."""
    return repository_pb2.Repository(
        name=f"repositories/{name}",
        server_pool="serverPools/pool",
        path=f"/storage/{name}",
        servers=["servers/s1", "servers/s2"],
        state=state,
    )


def image(
    name: str,
    form: image_pb2.ImageFormat.ValueType,
    state: image_pb2.ImageState.ValueType = image_pb2.IMAGE_STATE_READY,
) -> Message:
    """Return an image in the repository."""
    return image_pb2.Image(
        name=f"images/{name}", repository="repositories/shared", format=form, size_bytes=MIB, state=state
    )


def network(name: str, state: network_pb2.NetworkState.ValueType) -> Message:
    """Return a network of s1 and s2."""
    return network_pb2.Network(name=f"networks/{name}", servers=["servers/s1", "servers/s2"], state=state)


def machine(
    name: str,
    state: virtual_machine_pb2.VirtualMachineState.ValueType,
    *,
    pool: str = "serverPools/pool",
    on: str = "",
    cdrom: str = "",
) -> Message:
    """Return a machine."""
    return virtual_machine_pb2.VirtualMachine(
        name=f"virtualMachines/{name}",
        state=state,
        server_pool=pool,
        server=on,
        cdrom=cdrom,
        memory_bytes=GIB,
        cpus=1,
        boot=virtual_machine_pb2.BootSource(kernel_path="/storage/vmlinuz"),
    )


def disk(
    name: str,
    *,
    of: str = "",
    state: virtual_disk_pb2.VirtualDiskState.ValueType = virtual_disk_pb2.VIRTUAL_DISK_STATE_READY,
) -> Message:
    """Return a disk."""
    return virtual_disk_pb2.VirtualDisk(
        name=f"virtualDisks/{name}",
        repository="repositories/shared",
        virtual_machine=f"virtualMachines/{of}" if of else "",
        size_bytes=4 * MIB,
        state=state,
    )


def card(name: str, *, of: str, **fields: Any) -> Message:
    """Return a card of a machine."""
    state = vnic_pb2.VNIC_STATE_READY
    return vnic_pb2.Vnic(name=f"vnics/{name}", virtual_machine=f"virtualMachines/{of}", state=state, **fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One preview: the objects that its request acts on, by field, and how it was answered."""

    method: str
    """The method's own name."""
    objects: Mapping[str, str]
    """The objects by the request's field."""
    reason: str
    """Why it was refused; empty if it was accepted."""
    field: str
    """The field that the refusal names."""
    resource: str
    """The object that the refusal is about."""

    @property
    def refused_by_its_state(self) -> str:
        """The object that was refused for its own state; empty if none was."""
        at_fault = self.objects.get(self.field.partition(".")[0], "")
        return at_fault if self.reason == "WRONG_STATE" and self.resource == at_fault else ""


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Run a site with these objects in it; no host is there, as nothing is done on any."""
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(running(tmp_path))
        stub: Any = participant_service_pb2_grpc.ParticipantServiceStub(found._near["inventory"])
        call = stub.Execute()
        objects = site_objects()
        for item in objects:
            cast("Any", item).uid = f"{objects.index(item):032x}"
        await call.write(participant.ExecuteRequest(effects=[effect("900000/1/1", *map(create, objects))]))
        await call.done_writing()
        results = [report.result async for response in call for report in response.reports]
        assert [each.state for each in results] == [participant.EFFECT_STATE_DONE], results
        yield found


async def every_object(site: Site) -> list[Any]:
    """Return every object as clients read it."""
    stub: Any = inventory_service_pb2_grpc.InventoryServiceStub(site._near["inventory"])
    service = inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"]
    found = []
    for method in service.methods:
        if method.name.startswith("List") and method.name != "ListEvents":
            answer = await getattr(stub, method.name)(GetMessageClass(method.input_type)())
            (field,) = [each for each in method.output_type.fields if each.is_repeated]
            found += list(getattr(answer, field.name))
    return found


def acting_fields(request: Message) -> dict[str, str]:
    """Return the collection of what each field names that a request acts on; the object itself for an update."""
    types = {kind.type: kind.collection for kind in kinds().values()}
    for each in fields_of(request):
        if hint_of(each).settable:
            return {each.name: collection_of(getattr(request, each.name).name)}
    named = [
        each for each in fields_of(request) if reference_type(each) and not is_repeated(each) and is_required(each)
    ]
    return {each.name: types[reference_type(each)] for each in named}


async def ask_everything(site: Site, objects: Sequence[Any]) -> list[Asked]:
    """Ask for every example with every object in its place, as a preview."""
    stand_in: Any = SimpleNamespace(shared=site.share, addresses={"s3": "127.0.0.1:1"})
    asked = []
    for example in load_examples().values():
        request = example.request(stand_in)
        fields = acting_fields(request)
        choices = [[each.name for each in objects if collection_of(each.name) == kind] for kind in fields.values()]
        # What makes something acts on nothing.
        combined = itertools.product(*choices) if fields else ()
        asked += [await ask(site, request, dict(zip(fields, names, strict=True))) for names in combined]
    return asked


async def ask(site: Site, request: Any, objects: Mapping[str, str]) -> Asked:
    """Ask for a request with these objects in its fields, as a preview."""
    made = type(request)()
    made.CopyFrom(request)
    made.validate_only = True
    for field, name in objects.items():
        if hint_of(made.DESCRIPTOR.fields_by_name[field]).settable:
            getattr(made, field).name = name
        else:
            setattr(made, field, name)
    reason = field = resource = ""
    try:
        await site.submit(made)
    except grpc.aio.AioRpcError as raised:
        error = named(raised)
        reason, resource = error.reason, error.resource
        field = error.metadata.get("field", "")
    return Asked(
        method=type(request).DESCRIPTOR.name.removesuffix("Request"),
        objects=objects,
        reason=reason,
        field=field,
        resource=resource,
    )


def findings(asked: Sequence[Asked], allowed: Mapping[str, Sequence[str]]) -> set[tuple[str, str]]:
    """Return (method, object) where a preview and what the object shows differ."""
    shown = {(method, name) for name, methods in allowed.items() for method in methods}
    accepted = {(each.method, name) for each in asked if not each.reason for name in each.objects.values()}
    refused = {(each.method, each.refused_by_its_state) for each in asked if each.refused_by_its_state}
    return (accepted - shown) | (refused & shown)


async def test_objects_show_what_a_preview_accepts(site: Site) -> None:
    """Whatever is accepted is shown; what the object's state forbids is not, and other reasons are those named here."""
    objects = await every_object(site)
    assert {collection_of(each.name) for each in objects} == kinds().keys()
    asked = await ask_everything(site, objects)
    shown = {each.name: _short(each.activity.allowed_operations) for each in objects}
    assert findings(asked, shown) == BY_OTHERS.keys()

    # Neither side of the comparison is empty for any type, or nothing would be proven of it.
    acting = {each.method for each in asked}
    assert {each.method for each in asked if not each.reason} == acting
    declaring = {name.removeprefix(SERVICE) for name, kind in load().items() if kind.needs}
    assert declaring <= {each.method for each in asked if each.refused_by_its_state}
    assert {method for methods in shown.values() for method in methods} == acting

    # Without its declaration a type is shown where its plan still refuses.
    for name, kind in load().items():
        if kind.needs:
            forgetful = AllowedOperations({**load(), name: replace(kind, needs={})})
            wrongly = findings(asked, {each.name: _short(forgetful.of(each)) for each in objects})
            assert {method for method, _ in wrongly - BY_OTHERS.keys()} == {name.removeprefix(SERVICE)}


def _short(methods: Sequence[str]) -> list[str]:
    return [method.removeprefix(SERVICE) for method in methods]
