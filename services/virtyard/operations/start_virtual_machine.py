"""Start Virtual Machine: reserve memory on the best server of its pool, start the guest there, record where it runs."""

from __future__ import annotations

from collections.abc import Sequence

from virtyard.api.actions.v1 import kill_guest_pb2, start_guest_pb2
from virtyard.api.inventory.v1 import (
    network_pb2,
    repository_pb2,
    server_pb2,
    server_pool_pb2,
    virtual_disk_pb2,
    virtual_machine_pb2,
    vnic_pb2,
    write_objects_pb2,
)
from virtyard.api.jobs.v1 import plan_pb2
from virtyard.api.operations.v1 import start_virtual_machine_pb2
from virtyard.api.participant.v1 import participant_service_pb2 as participant
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.lock_modes import LockMode
from virtyard.kernel.plan import Ids, PlanBuilder, update
from virtyard.kernel.view import View, select
from virtyard.operations.contract import OperationType
from virtyard.operations.hosts import best_server
from virtyard.operations.images import UsableImage
from virtyard.operations.machines import lock_cdrom, pooled, stopped
from virtyard.operations.networks import networks_of
from virtyard.operations.refusals import wrong_state
from virtyard.operations.running import PLACEMENT

Request = start_virtual_machine_pb2.StartVirtualMachineRequest


def selections(request: Request) -> Sequence[participant.Selection]:
    """Read the machine, its disks, cards and CD-ROM, and the servers of its pool."""
    paths = ("server_pool/servers@server_pool", "virtualDisks@virtual_machine/repository")
    cards = "vnics@virtual_machine/bridged_network"
    named = [select(request.server)] if request.server else []
    return [select(request.name, *paths, cards, "cdrom/repository"), *named]


def plan(request: Request, view: View, ids: Ids) -> plan_pb2.Plan:  # noqa: ARG001  # every planner has this shape
    """Plan the start; the server is chosen here, from the view."""
    machine = view.get(request.name, virtual_machine_pb2.VirtualMachine, field="name", etag=request.etag)
    cards = view.of(vnic_pb2.Vnic, virtual_machine=machine.name)
    networks = networks_of(view, cards)
    server = _choose(request, machine, networks, view)
    disks = _in_order(view.of(virtual_disk_pb2.VirtualDisk, virtual_machine=machine.name))

    builder = PlanBuilder(view)
    job = builder.job("Start Virtual Machine", machine.name)
    # Memory is a reservation that the inventory checks as a sum, not a lock: starts on one server run together under
    # IX, and whoever holds the server exclusively, for maintenance say, keeps them all out.
    builder.lock(server.name, LockMode.IX)
    for disk in disks:
        # The start uses the images and changes none of them: S keeps them where they are, and lets others read them.
        builder.lock(disk.name, LockMode.S)
    for network in networks:
        builder.lock(network.name, LockMode.S)
    cdrom = lock_cdrom(builder, view, machine.cdrom, machine.server_pool, "name")
    starting = virtual_machine_pb2.VirtualMachine(
        name=machine.name, server=server.name, state=virtual_machine_pb2.VIRTUAL_MACHINE_STATE_STARTING
    )
    reservation = write_objects_pb2.MemoryReservation(server=server.name, memory_bytes=machine.memory_bytes)
    job.write("Reserve the server's memory", update(starting, "state", "server"), reservation)
    started = job.step(
        "Start the guest",
        server.name,
        _guest(machine, disks, cards, cdrom, view, adopt=runs_on(server, machine)),
        undo=kill_guest_pb2.KillGuest(virtual_machine=machine.name, uid=machine.uid),
        weight=3,
    )
    running = virtual_machine_pb2.VirtualMachine(
        name=machine.name, state=virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
    )
    job.write("Record where it runs", update(running, "state", "placement"))
    for field in PLACEMENT:
        job.bind(f"writes[0].update.object.virtual_machine.placement.{field}", started, field)
    return builder.build(machine.name)


def _choose(
    request: Request,
    machine: virtual_machine_pb2.VirtualMachine,
    networks: Sequence[network_pb2.Network],
    view: View,
) -> server_pb2.Server:
    pool = view.get(machine.server_pool, server_pool_pb2.ServerPool, field="name")
    servers = view.of(server_pb2.Server, server_pool=pool.name)
    _check_heard(servers, machine)
    repositories = view.of(repository_pb2.Repository)
    if request.server:
        wanted = view.get(request.server, server_pb2.Server, field="server")
        if wanted.server_pool != pool.name:
            where = f"is in {wanted.server_pool}" if wanted.server_pool else "is in no pool"
            allowed = ", ".join(server.name for server in servers) or "none, as it has no servers"
            text = f"{wanted.name} {where}, the machine in {pool.name}; allowed are {allowed}"
            raise InvalidRequest.of("server", text)
        servers = [wanted]
    here = next((server for server in servers if runs_on(server, machine)), None)
    elsewhere = next((server for server in view.of(server_pb2.Server) if runs_on(server, machine)), None)
    if here is None and elsewhere is not None:
        text = (
            f"{machine.name} runs on {elsewhere.name} already, though it is recorded as stopped; it is taken over there"
        )
        raise wrong_state("server", machine.name, f"{text} if no server or that one is named")
    if request.server or here is not None:
        wanted = here or servers[0]
        return best_server([wanted], machine.memory_bytes, networks, repositories, machine.name, "server")
    return best_server(servers, machine.memory_bytes, networks, repositories, machine.name, "name")


def runs_on(server: server_pb2.Server, machine: virtual_machine_pb2.VirtualMachine) -> bool:
    """Tell whether a server was seen to run a machine by its last report."""
    return server.state == server_pb2.SERVER_STATE_ONLINE and machine.uid in server.observed.guest_uids


def _check_heard(servers: Sequence[server_pb2.Server], machine: virtual_machine_pb2.VirtualMachine) -> None:
    """Refuse while a server has never reported since the databases were restored: it may run the machine."""
    unheard = [server.name for server in servers if server.state == server_pb2.SERVER_STATE_UNSPECIFIED]
    if unheard:
        text = f"{', '.join(unheard)} may run {machine.name} and was not heard of since the databases were restored"
        raise wrong_state("name", machine.name, f"{text}; it must report, or be removed from the pool")


def _in_order(disks: Sequence[virtual_disk_pb2.VirtualDisk]) -> list[virtual_disk_pb2.VirtualDisk]:
    return sorted(disks, key=lambda disk: (disk.position, disk.name))


def _guest(
    machine: virtual_machine_pb2.VirtualMachine,
    disks: Sequence[virtual_disk_pb2.VirtualDisk],
    cards: Sequence[vnic_pb2.Vnic],
    cdrom: UsableImage | None,
    view: View,
    *,
    adopt: bool,
) -> start_guest_pb2.StartGuest:
    guest = start_guest_pb2.StartGuest(
        virtual_machine=machine.name,
        uid=machine.uid,
        cpus=machine.cpus,
        memory_bytes=machine.memory_bytes,
        kernel_path=machine.boot.kernel_path,
        initrd_path=machine.boot.initrd_path,
        kernel_arguments=machine.boot.kernel_arguments,
        boot_order=machine.boot.boot_order,
        cdrom=cdrom.file if cdrom is not None else None,
        adopt=adopt,
    )
    for disk in disks:
        repository = view.get(disk.repository, repository_pb2.Repository, field="name")
        guest.disks.add(
            repository_path=repository.path, repository_uid=repository.uid, disk_uid=disk.uid, serial=disk.serial
        )
    for card in sorted(cards, key=lambda card: (card.position, card.name)):
        nic = guest.nics.add(mac_address=card.mac_address)
        network = view.find(card.bridged_network, network_pb2.Network)
        if network is not None:
            nic.bridge, nic.network_uid, nic.uplink = network.bridge, network.uid, network.uplink
    return guest


OPERATION = OperationType(
    method="virtyard.api.operations.v1.OperationService.StartVirtualMachine",
    selections=selections,
    plan=plan,
    needs={"name": (stopped, pooled)},
)
