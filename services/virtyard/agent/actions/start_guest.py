"""Starting the guest of a virtual machine."""

from __future__ import annotations

from virtyard.agent.actions.contract import Action, Context, Lane, Outcome
from virtyard.agent.drivers.hypervisor.contract import BootDevice, DiskSpec, GuestInfo, GuestSpec, NicSpec
from virtyard.agent.drivers.network.contract import Bridge
from virtyard.agent.drivers.storage.contract import Place
from virtyard.agent.images import image_file
from virtyard.api.actions.v1 import start_guest_pb2
from virtyard.api.inventory.v1 import virtual_machine_pb2
from virtyard.kernel.errors import FieldViolation, InvalidRequest, Unsupported, WrongState

_FIELDS = {"kernel": "kernel_path", "initrd": "initrd_path"}
_BOOT_DEVICES = {
    virtual_machine_pb2.BOOT_DEVICE_DISK: BootDevice.DISK,
    virtual_machine_pb2.BOOT_DEVICE_CDROM: BootDevice.CDROM,
    virtual_machine_pb2.BOOT_DEVICE_NETWORK: BootDevice.NETWORK,
}


async def do(message: start_guest_pb2.StartGuest, context: Context) -> Outcome:
    """Start the guest under this mark, or take over the one that runs where that was asked for.

    Raises:
        WrongState: an image is not there.
    """
    if message.adopt:
        guest = await context.host.hypervisor.find(message.uid)
        if guest is not None and guest.running:
            # It ran before this step, so undoing the step leaves it.
            return Outcome(result=_result(guest, context), changed=False)
    spec = await _spec(message, context)
    await _ensure_bridges(message, context)
    context.progress(0, 1, "starting the guest")
    try:
        guest = await context.host.hypervisor.start(spec, context.mark)
    except InvalidRequest as refusal:
        raise _renamed(refusal) from refusal
    return Outcome(result=_result(guest, context))


async def probe(message: start_guest_pb2.StartGuest, context: Context) -> Outcome | None:
    """Find the running guest by its mark; one that has ended, or never began, is cleared away."""
    guest = await context.host.hypervisor.find(message.uid)
    if guest is None or guest.mark != context.mark:
        return None
    if guest.running:
        return Outcome(result=_result(guest, context))
    await context.host.hypervisor.kill(message.uid)
    return None


async def _spec(message: start_guest_pb2.StartGuest, context: Context) -> GuestSpec:
    roots = context.host.roots
    disks = [await _disk(disk, context) for disk in message.disks]
    cdrom = await image_file(message.cdrom, context.host.storage) if message.HasField("cdrom") else None
    order = [_BOOT_DEVICES[device] for device in message.boot_order]
    return GuestSpec(
        uid=message.uid,
        name=message.virtual_machine,
        cpus=message.cpus,
        memory_bytes=message.memory_bytes,
        kernel=roots.check(message.kernel_path, "kernel_path") if message.kernel_path else None,
        initrd=roots.check(message.initrd_path, "initrd_path") if message.initrd_path else None,
        kernel_arguments=message.kernel_arguments,
        disks=tuple(disks),
        cdrom=cdrom.path if cdrom else None,
        **({"boot_order": tuple(order)} if order else {}),
        nics=tuple(NicSpec(mac=nic.mac_address, bridge=nic.bridge) for nic in message.nics),
    )


async def _ensure_bridges(message: start_guest_pb2.StartGuest, context: Context) -> None:
    """Make the bridges that the host has lost, as it does at each of its own boots."""
    network = context.host.network
    wanted = {nic.bridge: nic for nic in message.nics if nic.bridge}
    if wanted and network.unsupported:
        raise Unsupported(f"this host carries no networks: {network.unsupported}", resource=context.host.server)
    for nic in wanted.values():
        bridge = Bridge(name=nic.bridge, uid=nic.network_uid, uplink=nic.uplink)
        await network.create_bridge(bridge, context.mark)


async def _disk(disk: start_guest_pb2.GuestDisk, context: Context) -> DiskSpec:
    place = Place(path=disk.repository_path, uid=disk.repository_uid)
    image = await context.host.storage.find_disk(place, disk.disk_uid)
    if image is None:
        raise WrongState(f"{disk.repository_path} has no image of disk {disk.disk_uid}", resource=disk.repository_path)
    return DiskSpec(path=image.path, format=image.format, serial=disk.serial)


def _result(guest: GuestInfo, context: Context) -> start_guest_pb2.StartGuestResult:
    return start_guest_pb2.StartGuestResult(
        hypervisor=context.host.hypervisor.name,
        accelerator=guest.accelerator,
        process_id=guest.pid,
        serial_log_path=str(guest.serial_log or ""),
        run=guest.run,
    )


def _renamed(refusal: InvalidRequest) -> InvalidRequest:
    """Return the refusal in the words of the message instead of the driver's."""
    violations = [
        FieldViolation(field=_FIELDS.get(violation.field, violation.field), description=violation.description)
        for violation in refusal.violations
    ]
    text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
    return InvalidRequest(text, violations=violations)


ACTION = Action(message=start_guest_pb2.StartGuest, lane=Lane.HYPERVISOR, do=do, probe=probe)
