"""A small site for planners: servers, pools, repositories and machines, read as the inventory would read them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import pytest
from google.protobuf import message_factory
from google.protobuf.message import Message

from virtyard.api.inventory.v1 import (
    cluster_pb2,
    filter_pb2,
    heartbeat_device_pb2,
    image_pb2,
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
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import (
    add_server_to_server_pool_pb2,
    add_vnic_pb2,
    attach_virtual_disk_pb2,
    confirm_server_dead_pb2,
    create_filter_pb2,
    create_network_pb2,
    create_repository_pb2,
    create_schedule_pb2,
    create_server_pool_pb2,
    create_trigger_pb2,
    create_virtual_disk_pb2,
    create_virtual_machine_pb2,
    create_webhook_pb2,
    delete_filter_pb2,
    delete_image_pb2,
    delete_network_pb2,
    delete_repository_pb2,
    delete_schedule_pb2,
    delete_server_pool_pb2,
    delete_trigger_pb2,
    delete_virtual_disk_pb2,
    delete_virtual_machine_pb2,
    delete_webhook_pb2,
    detach_virtual_disk_pb2,
    discover_server_pb2,
    edit_virtual_machine_pb2,
    forget_server_pb2,
    import_image_pb2,
    kill_virtual_machine_pb2,
    operation_service_pb2,
    present_repository_pb2,
    refresh_repository_pb2,
    refresh_server_pb2,
    remove_server_from_server_pool_pb2,
    remove_vnic_pb2,
    rename_virtual_machine_pb2,
    resize_virtual_disk_pb2,
    restart_virtual_machine_pb2,
    start_virtual_machine_pb2,
    stop_virtual_machine_pb2,
    unpresent_repository_pb2,
)
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import VirtyardError
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.names import Kind, kinds, wrap
from virtyard.kernel.plan import Ids, pack, steps_of
from virtyard.kernel.relations import targets_of
from virtyard.kernel.view import View
from virtyard.operations.catalogue import load
from virtyard.operations.contract import OperationType

M = TypeVar("M", bound=Message)

GIB = 1 << 30
OF_REPORTS = frozenset(
    {"report_time", "guest_uids", "repositories", "links", "agent_start", "look", "heartbeats", "death"}
)
"""What no look of a job brings: events of links and storage come from comparing reports, a death is a person's word."""
OWNER = "site-1"
SEED = uuid.UUID("00000000-0000-4000-8000-000000000001")
SERVICE = "virtyard.api.operations.v1.OperationService."


class Estate:
    """Objects by name; `view` reads what an operation selects."""

    def __init__(self, *objects: Message) -> None:
        """Keep the objects, each with a uid, a generation and an etag."""
        self.objects: dict[str, Any] = {}
        for item in objects:
            self.add(item)

    def add(self, message: Message) -> Estate:
        """Keep one more object, or another version of one."""
        item = cast("Any", message)
        item.uid = item.uid or uuid.uuid5(SEED, item.name).hex
        item.generation = item.generation or 1
        item.etag = item.etag or f"etag-{item.name}"
        self.objects[item.name] = item
        return self

    def get(self, name: str) -> Any:
        """Return an object to be changed in place."""
        return self.objects[name]

    def view(self, selections: Sequence[participant.Selection]) -> View:
        """Read what the selections lead to, every hop included."""
        found: dict[str, Any] = {}
        for selection in selections:
            start = [self.objects[selection.object]] if selection.object in self.objects else []
            found |= {item.name: item for item in start}
            for path in selection.follow:
                reached: Iterable[Any] = start
                for hop in path.split("/"):
                    reached = list(self._hop(reached, hop))
                    found |= {item.name: item for item in reached}
        return View(map(wrap, found.values()), selections, sequence=7, owner_id=OWNER)

    def _hop(self, items: Iterable[Any], hop: str) -> Iterable[Any]:
        collection, backward, field = hop.partition("@")
        for item in items:
            if not backward:
                yield from (self.objects[name] for name in targets_of(item, hop) if name in self.objects)
            else:
                others = (other for other in self.objects.values() if other.name.startswith(collection + "/"))
                yield from (other for other in others if item.name in targets_of(other, field))

    def plan(self, request: Message) -> plan_pb2.Plan:
        """Plan a request, as the scheduler would."""
        operation = operation_of(request)
        return operation.plan(request, self.view(operation.selections(request)), Ids(SEED))


_TYPES: Mapping[str, OperationType] = load()


def refusal(estate: Estate, request: Message) -> VirtyardError:
    """Return the error with which a request is refused."""
    with pytest.raises(VirtyardError) as caught:
        estate.plan(request)
    return caught.value


def field_of(error: VirtyardError) -> str:
    """Return the field of the request that a refusal names."""
    return error.metadata.get("field") or error.violations[0].field


def titles(plan: plan_pb2.Plan) -> list[str]:
    """Return the jobs' titles, those of children indented."""
    return [("  " if job.parent else "") + job.title for job in plan.jobs]


def locks(plan: plan_pb2.Plan) -> dict[str, str]:
    """Return the modes that a plan asks for, by object."""
    return {lock.object: LockMode(lock.mode).name for lock in plan.locks}


def actions(plan: plan_pb2.Plan) -> list[tuple[str, str, str]]:
    """Return of every step what it does, how it is undone and of what kind it is, by the names of the messages."""
    kinds = {plan_pb2.STEP_KIND_UNDOABLE: "undoable", plan_pb2.STEP_KIND_PIVOT: "pivot"}
    return [
        (
            step.do.TypeName().rpartition(".")[2],
            step.undo.TypeName().rpartition(".")[2] if step.HasField("undo") else "",
            kinds.get(step.kind, "forward"),
        )
        for _, step in steps_of(plan)
    ]


def done_by(plan: plan_pb2.Plan, message: type[M]) -> list[M]:
    """Return the effects of one type that a plan does, in its order."""
    found = []
    for _, step in steps_of(plan):
        effect = message()
        if step.do.Unpack(effect):
            found.append(effect)
    return found


def operation_of(request: Message) -> OperationType:
    """Return the operation type that a request asks for."""
    return _TYPES[SERVICE + request.DESCRIPTOR.name.removesuffix("Request")]


def server(name: str, *, pool: str = "", free: int = 8 * GIB, state: int = server_pb2.SERVER_STATE_ONLINE) -> Message:
    """Return a server with this much free memory, in bytes."""
    return server_pb2.Server(
        name=f"servers/{name}",
        server_pool=pool,
        state=cast("Any", state),
        observed=server_pb2.ServerObservation(memory_bytes=free),
    )


def machine(
    name: str, *, state: int = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STOPPED, on: str = ""
) -> virtual_machine_pb2.VirtualMachine:
    """Return a machine of the pool Finance."""
    return virtual_machine_pb2.VirtualMachine(
        name=f"virtualMachines/{name}",
        server_pool="serverPools/Finance",
        server=on,
        state=cast("Any", state),
        memory_bytes=GIB,
        cpus=2,
        boot=virtual_machine_pb2.BootSource(kernel_path="/storage/boot/vmlinuz"),
    )


def disk(name: str, *, of: str, position: int = 0, repository: str = "repositories/R") -> Message:
    """Return a disk that is attached to a machine."""
    return virtual_disk_pb2.VirtualDisk(
        name=f"virtualDisks/{name}",
        repository=repository,
        virtual_machine=f"virtualMachines/{of}",
        position=position,
        serial=f"serial{name}",
        size_bytes=GIB,
        state=virtual_disk_pb2.VIRTUAL_DISK_STATE_READY,
    )


def card(name: str, *, of: str, position: int = 0) -> Message:
    """Return a card that is plugged into a machine."""
    return vnic_pb2.Vnic(
        name=f"vnics/{name}",
        virtual_machine=f"virtualMachines/{of}",
        mac_address=f"52:54:00:00:00:{position:02x}",
        position=position,
        state=vnic_pb2.VNIC_STATE_READY,
    )


def network(name: str, *servers: str) -> Message:
    """Return a network that these servers carry."""
    return network_pb2.Network(
        name=f"networks/{name}",
        driver=network_pb2.NETWORK_DRIVER_BRIDGE,
        servers=servers,
        bridge=f"vy{name}",
        uplink="eth1",
        state=network_pb2.NETWORK_STATE_READY,
    )


def repository(
    name: str, *, path: str, pool: str = "serverPools/Finance", servers: Sequence[str] = ("servers/a", "servers/b")
) -> Message:
    """Return a repository that is ready, presented to the servers of Finance unless others are named."""
    return repository_pb2.Repository(
        name=f"repositories/{name}",
        path=path,
        server_pool=pool,
        servers=servers,
        state=repository_pb2.REPOSITORY_STATE_READY,
    )


def behind() -> Estate:
    """Return Finance's site with a second repository that b does not have, and b two changes behind."""
    site = finance().add(repository("S", path="/storage/s", servers=["servers/a"]))
    site.get("servers/b").desired_revision, site.get("servers/b").applied_revision = 5, 3
    return site


def silent() -> Estate:
    """Return Finance's site with b offline."""
    site = finance()
    site.get("servers/b").state = server_pb2.SERVER_STATE_OFFLINE
    return site


DISK_IMAGE, ISO_IMAGE = "images/debian", "images/installer"


def image(name: str, *, iso: bool = False, repository: str = "repositories/R") -> image_pb2.Image:
    """Return an image that is ready; a disk image of which a guest sees 10 MiB and a half."""
    return image_pb2.Image(
        name=f"images/{name}",
        repository=repository,
        format=image_pb2.IMAGE_FORMAT_ISO if iso else image_pb2.IMAGE_FORMAT_DISK,
        size_bytes=GIB >> 9,
        virtual_size_bytes=21 << 19,
        state=image_pb2.IMAGE_STATE_READY,
    )


def import_request(**fields: Any) -> import_image_pb2.ImportImageRequest:
    """Return a request for an image from a path on a server, unless it is said otherwise."""
    wanted = image_pb2.Image(repository="repositories/R", format=image_pb2.IMAGE_FORMAT_DISK)
    source = {} if "upload" in fields else {"server_path": "/storage/in/debian.qcow2"}
    return import_image_pb2.ImportImageRequest(**{"image_id": "new", "image": wanted, **source, **fields})


def with_cdrom() -> Estate:
    """Return Finance's site with the installer in the machine's drive."""
    site = finance()
    site.get("virtualMachines/web").cdrom = ISO_IMAGE
    return site


def finance() -> Estate:
    """Return a site with a plain pool of two servers, a repository, and a machine with two disks and a card."""
    pool = "serverPools/Finance"
    return Estate(
        server_pool_pb2.ServerPool(name=pool, state=server_pool_pb2.SERVER_POOL_STATE_ACTIVE),
        server("a", pool=pool),
        server("b", pool=pool),
        server("c"),
        server("d"),
        repository("R", path="/storage/r"),
        trigger(),
        schedule(),
        job_filter(),
        webhook(),
        machine("web"),
        disk("web-disk0", of="web"),
        disk("web-disk1", of="web", position=1),
        card("web-vnic0", of="web"),
        network("lan", "servers/a", "servers/b", "servers/d"),
        image("debian"),
        image("installer", iso=True),
    )


def clustered() -> Estate:
    """Return a site with a clustered pool Ledger of three servers and nothing in it."""
    pool = "serverPools/Ledger"
    names = ("x", "y", "z")
    members = [cluster_pb2.ClusterMember(server=f"servers/{name}", slot=slot) for slot, name in enumerate(names, 1)]
    return Estate(
        server_pool_pb2.ServerPool(name=pool, clustered=True, state=server_pool_pb2.SERVER_POOL_STATE_ACTIVE),
        *(server(name, pool=pool) for name in names),
        cluster_pb2.Cluster(
            name="clusters/Ledger",
            server_pool=pool,
            heartbeat_device="heartbeatDevices/Ledger",
            members=members,
            io_timeout_seconds=10,
            state=cluster_pb2.CLUSTER_STATE_ACTIVE,
        ),
        heartbeat_device_pb2.HeartbeatDevice(
            name="heartbeatDevices/Ledger", server_pool=pool, path="/storage/hb", slots=32, io_timeout_seconds=10
        ),
    )


def new_machine(disks: int = 0, vnics: int = 0) -> create_virtual_machine_pb2.CreateVirtualMachineRequest:
    """Return a request for a machine with so many disks and cards."""
    wanted = machine("ignored")
    wanted.ClearField("state")
    return create_virtual_machine_pb2.CreateVirtualMachineRequest(
        virtual_machine_id="new",
        virtual_machine=wanted,
        disks=[
            create_virtual_machine_pb2.NewVirtualDisk(repository="repositories/R", size_bytes=GIB) for _ in range(disks)
        ],
        vnics=[create_virtual_machine_pb2.NewVnic() for _ in range(vnics)],
    )


def from_images() -> create_virtual_machine_pb2.CreateVirtualMachineRequest:
    """Return a request for a machine that boots from images: a disk made from one, another in its drive."""
    request = new_machine()
    request.virtual_machine.cdrom = ISO_IMAGE
    request.virtual_machine.boot.Clear()
    request.disks.add(repository="repositories/R", image=DISK_IMAGE)
    return request


def new_pool(*, is_clustered: bool) -> create_server_pool_pb2.CreateServerPoolRequest:
    """Return a request for a pool of the two free servers of Finance's site."""
    request = create_server_pool_pb2.CreateServerPoolRequest(
        server_pool_id="P",
        server_pool=server_pool_pb2.ServerPool(clustered=is_clustered),
        servers=["servers/d", "servers/c"],
    )
    if is_clustered:
        request.heartbeat_device.path = "/storage/hb"
    return request


def trigger() -> trigger_pb2.Trigger:
    """Return a trigger that refreshes servers which report again."""
    request = pack(refresh_server_pb2.RefreshServerRequest(name="{event.object}"))
    return trigger_pb2.Trigger(name="triggers/look", event_filter="type = SERVER_ONLINE", request=request)


def job_filter() -> filter_pb2.Filter:
    """Return a filter that keeps all starts back."""
    pause = filter_pb2.FILTER_ACTION_PAUSE
    return filter_pb2.Filter(name="filters/calm", matches="type = StartVirtualMachine", action=pause)


def new_filter() -> create_filter_pb2.CreateFilterRequest:
    """Return a request for such a filter."""
    wanted = job_filter()
    wanted.name = ""
    return create_filter_pb2.CreateFilterRequest(filter_id="new", filter=wanted)


def webhook() -> webhook_pb2.Webhook:
    """Return a webhook that sends every event."""
    return webhook_pb2.Webhook(name="webhooks/pager", url="https://example.org/virtyard")


def new_webhook() -> create_webhook_pb2.CreateWebhookRequest:
    """Return a request for such a webhook."""
    wanted = webhook()
    wanted.name = ""
    return create_webhook_pb2.CreateWebhookRequest(webhook_id="new", webhook=wanted)


def schedule() -> schedule_pb2.Schedule:
    """Return a schedule that refreshes a server each night."""
    request = pack(refresh_server_pb2.RefreshServerRequest(name="servers/a"))
    return schedule_pb2.Schedule(name="schedules/nightly", cron="30 2 * * *", request=request)


def new_schedule() -> create_schedule_pb2.CreateScheduleRequest:
    """Return a request for such a schedule."""
    wanted = schedule()
    wanted.name = ""
    return create_schedule_pb2.CreateScheduleRequest(schedule_id="new", schedule=wanted)


def new_trigger() -> create_trigger_pb2.CreateTriggerRequest:
    """Return a request for such a trigger."""
    wanted = trigger()
    wanted.name = ""
    return create_trigger_pb2.CreateTriggerRequest(trigger_id="new", trigger=wanted)


def new_repository(path: str = "/storage/new") -> create_repository_pb2.CreateRepositoryRequest:
    """Return a request for a repository of Finance."""
    return create_repository_pb2.CreateRepositoryRequest(
        repository_id="N", repository=repository_pb2.Repository(path=path, server_pool="serverPools/Finance")
    )


def discovery(address: str = "127.0.0.1:7443") -> discover_server_pb2.DiscoverServerRequest:
    """Return a request for a server that is not there yet."""
    return discover_server_pb2.DiscoverServerRequest(
        server_id="new", server=server_pb2.Server(agent_address=address, labels={"rack": "7"})
    )


FREE = "virtualDisks/free"


def with_free_disk() -> Estate:
    """Return Finance's site with one more disk, which is attached to nothing."""
    loose = virtual_disk_pb2.VirtualDisk()
    loose.CopyFrom(cast("virtual_disk_pb2.VirtualDisk", disk("free", of="web")))
    loose.virtual_machine = ""
    return finance().add(loose)


def new_disk(machine: str = "") -> create_virtual_disk_pb2.CreateVirtualDiskRequest:
    """Return a request for a disk, attached to the machine if one is named."""
    return create_virtual_disk_pb2.CreateVirtualDiskRequest(
        virtual_disk_id="new",
        virtual_disk=virtual_disk_pb2.VirtualDisk(repository="repositories/R", size_bytes=GIB),
        virtual_machine=machine,
    )


def running() -> Estate:
    """Return Finance's site with the machine running on server a."""
    return finance().add(machine("web", state=virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING, on="servers/a"))


def update_request(kind: Kind) -> type[Message]:
    """Return the request that updates a kind of object."""
    words = kind.message.DESCRIPTOR.name
    method = operation_service_pb2.DESCRIPTOR.services_by_name["OperationService"].methods_by_name[f"Update{words}"]
    return message_factory.GetMessageClass(method.input_type)


def update_cases() -> dict[str, tuple[Estate, Message]]:
    """Return an update of the labels for each kind of object; a new kind is among them by itself."""
    cases: dict[str, tuple[Estate, Message]] = {}
    for collection, kind in kinds().items():
        site = next(
            each for each in (finance(), clustered()) if any(name.startswith(collection) for name in each.objects)
        )
        request = update_request(kind)()
        wanted = getattr(request, kind.field)
        wanted.name = next(name for name in site.objects if name.startswith(collection + "/"))
        wanted.labels["rack"] = "7"
        cases[f"Update {kind.noun}"] = (site, request)
    return cases


def every_case() -> dict[str, tuple[Estate, Message]]:
    """Return, for every way that an operation type may plan, a site and a request."""
    web = "virtualMachines/web"
    bare = finance()
    for name in ("virtualDisks/web-disk0", "virtualDisks/web-disk1"):
        del bare.objects[name]
    lonely = finance()
    for name in [name for name in lonely.objects if name.startswith(("virtual", "vnics", "repositories", "images"))]:
        del lonely.objects[name]
    spread = finance().add(repository("S", path="/storage/s"))
    spread.add(disk("web-disk2", of="web", position=2, repository="repositories/S"))
    return update_cases() | {
        "DiscoverServer": (Estate(), discovery()),
        "CreateServerPool plain": (finance(), new_pool(is_clustered=False)),
        "CreateServerPool clustered": (finance(), new_pool(is_clustered=True)),
        "DeleteServerPool plain": (
            lonely,
            delete_server_pool_pb2.DeleteServerPoolRequest(name="serverPools/Finance"),
        ),
        "DeleteServerPool clustered": (
            clustered(),
            delete_server_pool_pb2.DeleteServerPoolRequest(name="serverPools/Ledger"),
        ),
        "CreateRepository": (finance(), new_repository()),
        "DeleteRepository": (
            finance().add(repository("S", path="/storage/s")),
            delete_repository_pb2.DeleteRepositoryRequest(name="repositories/S"),
        ),
        "CreateVirtualMachine bare": (finance(), new_machine()),
        "CreateVirtualMachine full": (finance(), new_machine(3, 3)),
        "RenameVirtualMachine": (
            finance(),
            rename_virtual_machine_pb2.RenameVirtualMachineRequest(name=web, display_name="Web 1"),
        ),
        "StartVirtualMachine": (finance(), start_virtual_machine_pb2.StartVirtualMachineRequest(name=web)),
        "KillVirtualMachine": (running(), kill_virtual_machine_pb2.KillVirtualMachineRequest(name=web)),
        "StopVirtualMachine": (running(), stop_virtual_machine_pb2.StopVirtualMachineRequest(name=web)),
        "RestartVirtualMachine": (running(), restart_virtual_machine_pb2.RestartVirtualMachineRequest(name=web)),
        "CreateNetwork": (
            finance(),
            create_network_pb2.CreateNetworkRequest(
                network_id="new", network=network_pb2.Network(), servers=["servers/a", "servers/c"]
            ),
        ),
        "DeleteNetwork": (finance(), delete_network_pb2.DeleteNetworkRequest(name="networks/lan")),
        "CreateVirtualDisk free": (finance(), new_disk()),
        "CreateVirtualDisk attached": (finance(), new_disk(web)),
        "DeleteVirtualDisk": (with_free_disk(), delete_virtual_disk_pb2.DeleteVirtualDiskRequest(name=FREE)),
        "ResizeVirtualDisk free": (
            with_free_disk(),
            resize_virtual_disk_pb2.ResizeVirtualDiskRequest(name=FREE, size_bytes=2 * GIB),
        ),
        "ResizeVirtualDisk attached": (
            finance(),
            resize_virtual_disk_pb2.ResizeVirtualDiskRequest(name="virtualDisks/web-disk0", size_bytes=2 * GIB),
        ),
        "CreateVirtualDisk from image": (
            finance(),
            create_virtual_disk_pb2.CreateVirtualDiskRequest(
                virtual_disk_id="new",
                virtual_disk=virtual_disk_pb2.VirtualDisk(repository="repositories/R", image=DISK_IMAGE),
            ),
        ),
        "CreateVirtualMachine from images": (finance(), from_images()),
        "StartVirtualMachine cdrom": (with_cdrom(), start_virtual_machine_pb2.StartVirtualMachineRequest(name=web)),
        "EditVirtualMachine cdrom": (
            finance(),
            edit_virtual_machine_pb2.EditVirtualMachineRequest(
                virtual_machine=virtual_machine_pb2.VirtualMachine(name=web, cdrom=ISO_IMAGE)
            ),
        ),
        "ImportImage path": (finance(), import_request(server="servers/b")),
        "ImportImage upload": (finance(), import_request(upload="uploads/0a")),
        "DeleteImage": (finance(), delete_image_pb2.DeleteImageRequest(name=DISK_IMAGE)),
        "AttachVirtualDisk": (
            with_free_disk(),
            attach_virtual_disk_pb2.AttachVirtualDiskRequest(name=FREE, virtual_machine=web),
        ),
        "DetachVirtualDisk": (
            finance(),
            detach_virtual_disk_pb2.DetachVirtualDiskRequest(name="virtualDisks/web-disk0"),
        ),
        "AddVnic": (
            finance(),
            add_vnic_pb2.AddVnicRequest(vnic_id="new", virtual_machine=web, vnic=vnic_pb2.Vnic()),
        ),
        "RemoveVnic": (finance(), remove_vnic_pb2.RemoveVnicRequest(name="vnics/web-vnic0")),
        "EditVirtualMachine": (
            finance(),
            edit_virtual_machine_pb2.EditVirtualMachineRequest(
                virtual_machine=virtual_machine_pb2.VirtualMachine(name=web, cpus=4)
            ),
        ),
        "AddServerToServerPool plain": (
            finance(),
            add_server_to_server_pool_pb2.AddServerToServerPoolRequest(name="serverPools/Finance", server="servers/c"),
        ),
        "AddServerToServerPool clustered": (
            clustered().add(server("w")),
            add_server_to_server_pool_pb2.AddServerToServerPoolRequest(name="serverPools/Ledger", server="servers/w"),
        ),
        "RemoveServerFromServerPool plain": (
            finance(),
            remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(
                name="serverPools/Finance", server="servers/b"
            ),
        ),
        "RemoveServerFromServerPool clustered": (
            clustered(),
            remove_server_from_server_pool_pb2.RemoveServerFromServerPoolRequest(
                name="serverPools/Ledger", server="servers/y"
            ),
        ),
        "PresentRepository": (
            finance().add(repository("S", path="/storage/s", servers=[])),
            present_repository_pb2.PresentRepositoryRequest(name="repositories/S", servers=["servers/a", "servers/b"]),
        ),
        "PresentRepository behind": (
            behind(),
            present_repository_pb2.PresentRepositoryRequest(name="repositories/S", servers=["servers/b"]),
        ),
        "UnpresentRepository": (
            finance(),
            unpresent_repository_pb2.UnpresentRepositoryRequest(
                name="repositories/R", servers=["servers/a", "servers/b"]
            ),
        ),
        "UnpresentRepository behind": (
            behind(),
            unpresent_repository_pb2.UnpresentRepositoryRequest(name="repositories/R", servers=["servers/b"]),
        ),
        "RefreshRepository": (
            finance(),
            refresh_repository_pb2.RefreshRepositoryRequest(name="repositories/R"),
        ),
        "RefreshServer": (finance(), refresh_server_pb2.RefreshServerRequest(name="servers/a")),
        "RefreshServer behind": (behind(), refresh_server_pb2.RefreshServerRequest(name="servers/b")),
        "ConfirmServerDead": (
            silent(),
            confirm_server_dead_pb2.ConfirmServerDeadRequest(name="servers/b", proof="its power cable is pulled"),
        ),
        "ForgetServer": (finance(), forget_server_pb2.ForgetServerRequest(name="servers/c")),
        "ForgetServer forced": (finance(), forget_server_pb2.ForgetServerRequest(name="servers/c", force=True)),
        "CreateFilter": (finance(), new_filter()),
        "DeleteFilter": (finance(), delete_filter_pb2.DeleteFilterRequest(name="filters/calm")),
        "CreateSchedule": (finance(), new_schedule()),
        "DeleteSchedule": (finance(), delete_schedule_pb2.DeleteScheduleRequest(name="schedules/nightly")),
        "CreateTrigger": (finance(), new_trigger()),
        "DeleteTrigger": (finance(), delete_trigger_pb2.DeleteTriggerRequest(name="triggers/look")),
        "CreateWebhook": (finance(), new_webhook()),
        "DeleteWebhook": (finance(), delete_webhook_pb2.DeleteWebhookRequest(name="webhooks/pager")),
        "DeleteVirtualMachine bare": (bare, delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=web)),
        "DeleteVirtualMachine full": (spread, delete_virtual_machine_pb2.DeleteVirtualMachineRequest(name=web)),
    }
