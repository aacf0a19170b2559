"""The `disk` heartbeat: slots in a file or block device that every member reaches.

Each member writes only its own slot, and reads it before: one that others have cleared, or given to another member, is
its own no more, and it is no member then. A slot that cannot be written is tried again at the next renewal; what the
member itself must do then follows from the age of its last renewal.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from virtyard.agent.drivers.heartbeat import block, slots
from virtyard.agent.drivers.heartbeat.contract import (
    DEFAULT_WATCHDOG_SECONDS,
    USUAL_IO_TIMEOUT_SECONDS,
    Device,
    Membership,
    MemberState,
    MemberView,
    Renewal,
    Slot,
)
from virtyard.agent.drivers.heartbeat.sight import Sight
from virtyard.agent.drivers.storage.layout import check_uid
from virtyard.agent.drivers.storage.roots import StorageRoots
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import AlreadyExists, InvalidRequest, NotFound, WrongState
from virtyard.runtime.durable_file import read_record, remove_file, sync_folder, write_record
from virtyard.runtime.scope import TaskScope
from virtyard.runtime.threads import Threads

_MOST_SLOTS = 2000
_SILENT_TIMEOUTS = 4
"""For how many T a slot is watched before it is cleared for its member, which would renew it twice in that time."""
_log = logging.getLogger(__name__)


class _SlotLostError(Exception):
    """The slot of a member is its own no more."""


@dataclass(slots=True, kw_only=True)
class _Member:
    """A membership that is being renewed."""

    membership: Membership
    device: Device | None = None
    incarnation: str = field(default_factory=lambda: secrets.token_hex(8))
    counter: int = 0
    began: float = 0.0
    renewed: float | None = None
    error: str = ""
    sights: list[Sight] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class DiskHeartbeat:
    """Keeps this host's memberships in slots of heartbeat devices."""

    name = "disk"

    def __init__(
        self, *, state: Path, roots: StorageRoots, clock: Clock, watchdog: float = DEFAULT_WATCHDOG_SECONDS
    ) -> None:
        """Keep memberships below `state`; devices that are laid out get `watchdog` as their W in seconds."""
        self._state = state
        self._roots = roots
        self._clock = clock
        self._watchdog = watchdog
        self._members: dict[str, _Member] = {}
        self._threads = Threads("heartbeat", workers=8)
        self._scope = TaskScope("heartbeat")

    async def open(self) -> None:
        """Go on with the memberships of an earlier agent."""
        self._state.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._state.glob("*.json")):
            stored = await self._threads.run(read_record, path)
            if stored is not None:
                self._keep(_Member(membership=Membership(**stored)))

    async def close(self) -> None:
        """Stop renewing; the slots and the memberships stay."""
        await self._scope.close()
        self._members.clear()
        self._threads.close()

    async def lay_out(self, path: str, uid: str, slots: int, io_timeout: float, mark: str) -> Device:
        """Make the file aside, then link it into place, so that it appears whole."""
        check_uid(uid, "uid")
        if not 1 <= slots <= _MOST_SLOTS:
            raise InvalidRequest.of("slots", f"{slots} is not allowed; it must be 1 to {_MOST_SLOTS}")
        if io_timeout <= 0:
            raise InvalidRequest.of("io_timeout_seconds", f"{io_timeout} is not allowed; it must be above 0")
        device = Device(
            uid=uid,
            slots=slots,
            io_timeout=io_timeout,
            watchdog=self._watchdog,
            mark=mark,
            size_bytes=block.SIZE * (slots + 1),
        )
        return await self._threads.run(lambda: _lay_out(self._roots.check(path, "path"), device))

    async def remove(self, path: str, uid: str, mark: str | None = None) -> bool:
        """Remove the file if no member uses it."""
        return await self._threads.run(lambda: _remove(self._roots.check(path, "path"), uid, mark))

    async def find(self, path: str, uid: str) -> Device | None:
        """Return the device, or None where it is not."""
        device = await self._threads.run(lambda: _header(self._roots.check(path, "path")))
        return device if device is not None and device.uid == uid else None

    async def join(self, membership: Membership) -> bool:
        """Record the membership, write the slot, then renew it from now on."""
        check_uid(membership.cluster_uid, "cluster_uid")
        present = self._members.get(membership.cluster_uid)
        if present is not None and not await self._has_lost(present):
            if (present.membership.path, present.membership.slot) == (membership.path, membership.slot):
                return False
            raise AlreadyExists(f"this host is in the cluster already, in slot {present.membership.slot}")
        device = await self.find(membership.path, membership.device_uid)
        if device is None:
            raise WrongState(f"{membership.path} is not the heartbeat device {membership.device_uid}")
        if not 1 <= membership.slot <= device.slots:
            raise InvalidRequest.of("slot", f"{membership.slot} is not allowed; it must be 1 to {device.slots}")
        await self._threads.run(self._check_free, membership)
        member = _Member(membership=membership, device=device)
        try:
            # The slot first: so whoever finds a membership whose slot is not its own knows that others have cleared it.
            await self._renew(member, first=True)
            await self._threads.run(write_record, self._path(membership.cluster_uid), dataclasses.asdict(membership))
        except BaseException:
            await self._threads.run(self._clear, membership)
            raise
        self._keep(member)
        return True

    async def leave(self, cluster_uid: str, mark: str | None = None) -> bool:
        """Stop renewing, clear the slot, then forget the membership."""
        member = self._members.get(cluster_uid)
        if member is None or mark not in {None, member.membership.mark}:
            return False
        await _end(member)
        try:
            await self._threads.run(self._clear, member.membership)
        except BaseException:
            self._keep(member)
            raise
        self._members.pop(cluster_uid, None)
        return True

    async def clear(self, slot: Slot, mark: str, joined: str | None = None) -> bool:
        """Watch the slot, as a proof that its server is off may be wrong, then free it with what was in it kept."""
        path, device = await self._reached(slot)
        found = await self._threads.run(slots.read, path, slot.number)
        if not slots.of_member(found, slot.server, joined):
            return slots.cleared_by(found, mark)
        begun = self._clock.monotonic()
        while self._clock.monotonic() - begun < _SILENT_TIMEOUTS * device.io_timeout:
            await asyncio.sleep(device.io_timeout)
            if await self._threads.run(slots.read, path, slot.number) != found:
                text = f"{slot.server} still renews slot {slot.number} of {slot.path}, so it is not off"
                raise WrongState(text, resource=slot.server)
        await self._threads.run(slots.clear, path, slot.number, mark)
        return True

    async def put_back(self, slot: Slot, mark: str) -> bool:
        """Give the slot back as it was."""
        path, _ = await self._reached(slot)
        return await self._threads.run(slots.put_back, path, slot.number, mark)

    async def was_cleared(self, slot: Slot, mark: str) -> bool:
        """Look at the slot."""
        path, _ = await self._reached(slot)
        return slots.cleared_by(await self._threads.run(slots.read, path, slot.number), mark)

    async def forget_join(self, slot: Slot, mark: str) -> None:
        """Clear the slot if it carries the mark; nothing renews it, as there is no membership."""
        if await self.find(slot.path, slot.device_uid) is not None:
            await self._threads.run(_free, self._roots.check(slot.path, "path"), slot.number, slot.server, mark)

    async def _reached(self, slot: Slot) -> tuple[Path, Device]:
        device = await self.find(slot.path, slot.device_uid)
        if device is None:
            raise WrongState(f"{slot.path} is not the heartbeat device {slot.device_uid}", resource=slot.path)
        if not 1 <= slot.number <= device.slots:
            raise InvalidRequest.of("slot", f"{slot.number} is not allowed; it must be 1 to {device.slots}")
        return self._roots.check(slot.path, "path"), device

    def joined(self, cluster_uid: str) -> Membership | None:
        """Return this host's membership of a cluster."""
        member = self._members.get(cluster_uid)
        return member.membership if member else None

    def members(self) -> list[MemberView]:
        """Return every member of every cluster of this host."""
        return [view for uid in sorted(self._members) for view in self._views(self._members[uid])]

    def renewals(self) -> list[Renewal]:
        """Return how this host renews each of its own slots."""
        return [self._renewal(self._members[uid]) for uid in sorted(self._members)]

    def _renewal(self, member: _Member) -> Renewal:
        io_timeout = member.device.io_timeout if member.device is not None else USUAL_IO_TIMEOUT_SECONDS
        since = member.began if member.renewed is None else member.renewed
        late: bool | None = self._clock.monotonic() - since > 4 * io_timeout
        reason = (member.error or f"{member.membership.path} does not answer") if late else ""
        if not late and member.renewed is None:
            late = None
        membership = member.membership
        return Renewal(cluster_uid=membership.cluster_uid, slot=membership.slot, late=late, reason=reason)

    def _views(self, member: _Member) -> list[MemberView]:
        views = []
        for slot, sight in enumerate(member.sights, start=1):
            state = self._own_state(member) if slot == member.membership.slot else sight.state
            if state is not None:
                server = member.membership.server if slot == member.membership.slot else sight.server
                views.append(
                    MemberView(cluster_uid=member.membership.cluster_uid, server=server, slot=slot, state=state)
                )
        return views

    def _own_state(self, member: _Member) -> MemberState:
        if member.renewed is None or member.device is None:
            return MemberState.JOINING
        age = self._clock.monotonic() - member.renewed
        return MemberState.LIVE if age < 8 * member.device.io_timeout else MemberState.FAIL

    def _keep(self, member: _Member) -> None:
        self._members[member.membership.cluster_uid] = member
        member.began = self._clock.monotonic()
        member.task = self._scope.start(self._live(member), name=member.membership.cluster_uid, vital=True)

    async def _live(self, member: _Member) -> None:
        """Renew every 2T and read every T, for as long as the membership lasts."""
        turn = 0
        while True:
            try:
                await self._beat(member, renew=turn % 2 == 0)
            except _SlotLostError:
                await self._give_up(member)
                return
            except (OSError, WrongState, InvalidRequest) as error:
                member.error = str(error)
                self._complain(member, error)
            turn += 1
            await asyncio.sleep(member.device.io_timeout if member.device else 1.0)

    async def _beat(self, member: _Member, *, renew: bool) -> None:
        if member.device is None:
            member.device = await self.find(member.membership.path, member.membership.device_uid)
            if member.device is None:
                raise WrongState(f"the heartbeat device {member.membership.path} is not there")
        if renew:
            await self._renew(member)
        device = member.device
        contents = await self._threads.leave(block.read, self._device_path(member.membership), 1, device.slots)
        now = self._clock.monotonic()
        if not member.sights:
            member.sights = [Sight(device.io_timeout, device.watchdog) for _ in contents]
        for sight, content in zip(member.sights, contents, strict=True):
            sight.look(slots.occupant(content), now)

    async def _give_up(self, member: _Member) -> None:
        """Forget a membership whose slot is its own no more; the slot is left as it is."""
        membership = member.membership
        text = "cluster %s: slot %d of %s is this host's no more, so it is no member now"
        _log.error(text, membership.cluster_uid, membership.slot, membership.path)
        await self._threads.run(self._forget, membership.cluster_uid)
        self._members.pop(membership.cluster_uid, None)

    async def _has_lost(self, member: _Member) -> bool:
        """Tell whether the slot of a member is its own no more; then it is forgotten at once."""
        try:
            lost = await self._threads.run(slots.is_lost, self._device_path(member.membership), member.membership)
        except OSError:
            return False  # its device cannot be read, so nothing is known
        if lost:
            await _end(member)
            await self._give_up(member)
        return lost

    async def _renew(self, member: _Member, *, first: bool = False) -> None:
        begun = self._clock.monotonic()
        member.counter += 1
        content = {
            "server": member.membership.server,
            "cluster_uid": member.membership.cluster_uid,
            "incarnation": member.incarnation,
            "counter": member.counter,
            "mark": member.membership.mark,
        }
        # Never left: it must not land after a clearing.
        await self._threads.run(self._write_own, member.membership, content, first=first)
        member.error = ""
        member.renewed = begun  # the moment before the write is the one that others can rely on

    def _write_own(self, membership: Membership, content: block.Content, *, first: bool) -> None:
        path = self._device_path(membership)
        if not first and slots.is_lost(path, membership):
            raise _SlotLostError
        block.write(path, membership.slot, content)

    def _complain(self, member: _Member, error: Exception) -> None:
        timeout = member.device.io_timeout if member.device else 0.0
        age = 0.0 if member.renewed is None else self._clock.monotonic() - member.renewed
        level = logging.ERROR if timeout and age > 4 * timeout else logging.WARNING
        _log.log(
            level, "cluster %s: the slot was not renewed for %.1f s: %s", member.membership.cluster_uid, age, error
        )

    def _check_free(self, membership: Membership) -> None:
        content = slots.occupant(slots.read(self._device_path(membership), membership.slot))
        if content is not None and content["server"] != membership.server:
            raise AlreadyExists(f"slot {membership.slot} of {membership.path} belongs to {content['server']}")

    def _clear(self, membership: Membership) -> None:
        """Clear the slot if it is still this member's, then forget the membership; a device that is gone is clear."""
        path = self._device_path(membership)
        header = _header(path)
        if header is not None and header.uid == membership.device_uid:
            _free(path, membership.slot, membership.server, membership.mark)
        self._forget(membership.cluster_uid)

    def _forget(self, cluster_uid: str) -> None:
        if self._path(cluster_uid).exists():
            remove_file(self._path(cluster_uid))

    def _device_path(self, membership: Membership) -> Path:
        return self._roots.check(membership.path, "path")

    def _path(self, cluster_uid: str) -> Path:
        return self._state / f"{cluster_uid}.json"


async def _end(member: _Member) -> None:
    if member.task is not None:
        member.task.cancel()
        await asyncio.wait([member.task])


def _lay_out(path: Path, device: Device) -> Device:
    present = _header(path)
    if present is not None and (present.uid, present.mark) == (device.uid, device.mark):
        return present
    if path.exists():
        raise AlreadyExists(f"{path} exists already", resource=str(path))
    if not path.parent.is_dir():
        raise NotFound(f"{path.parent} does not exist on this host", resource=str(path.parent))
    aside = path.with_name(f".virtyard-new-{device.uid}")
    try:
        with aside.open("wb") as file:
            file.write(block.pack(dataclasses.asdict(device)) + bytes(block.SIZE * device.slots))
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(aside)
    except FileExistsError as error:
        raise AlreadyExists(f"{path} exists already", resource=str(path)) from error
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)
    return device


def _remove(path: Path, uid: str, mark: str | None) -> bool:
    path.with_name(f".virtyard-new-{uid}").unlink(missing_ok=True)
    device = _header(path)
    if device is None or device.uid != uid or mark not in {None, device.mark}:
        return False
    users = [each["server"] for content in block.read(path, 1, device.slots) if (each := slots.occupant(content))]
    if users:
        raise WrongState(f"{path} is still used by {', '.join(users)}", resource=str(path))
    return remove_file(path)


def _free(path: Path, slot: int, server: str, mark: str) -> None:
    if slots.of_member(slots.read(path, slot), server, mark):
        block.write(path, slot, None)


def _header(path: Path) -> Device | None:
    try:
        (content,) = block.read(path, 0, 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    return Device(**content) if content is not None and "slots" in content else None
