"""The effect log, for tests: what was really made on a host, told apart from what was found there already.

``VIRTYARD_EFFECT_LOG=PATH`` names a file that gets a line, the mark and the thing, for each repository, image and guest
that is another one after an action's call of its driver than before it. The ledger has no part in it, so the log shows
what a ledger that answers wrongly would let happen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from google.protobuf.message import Message

from virtyard.agent.actions.catalogue import AnyAction
from virtyard.agent.actions.contract import Context, Host, Outcome
from virtyard.agent.drivers.hypervisor.contract import GuestInfo, GuestSpec, Hypervisor
from virtyard.agent.drivers.storage.contract import DiskFile, Place, Storage, Usage

LOG = "VIRTYARD_EFFECT_LOG"
Log = Callable[[str, str], None]
"""Is told the mark, and what was made under it."""


def logging_makes(catalogue: Mapping[str, AnyAction], path: str = "") -> Mapping[str, AnyAction]:
    """Return the actions of an agent, observed if a log is asked for; `path` is the variable's if it is empty."""
    path = path or os.environ.get(LOG, "")
    if not path:
        return catalogue

    def log(mark: str, what: str) -> None:
        # One write at the end of the file: lines of several agents stay whole.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, f"{mark} {what}\n".encode())
        finally:
            os.close(descriptor)

    return {name: _observed(action, log) for name, action in catalogue.items()}


def _observed(action: AnyAction, log: Log) -> AnyAction:
    async def do(message: Message, context: Context) -> Outcome:
        return await action.do(message, replace(context, host=_watched(context.host, log)))

    return replace(action, do=do)


def _watched(host: Host, log: Log) -> Host:
    storage, hypervisor = _Storage(host.storage, log), _Hypervisor(host.hypervisor, log)
    return replace(host, storage=cast(Storage, storage), hypervisor=cast(Hypervisor, hypervisor))


class _Storage:
    """A storage that is looked at before and after something is made."""

    def __init__(self, storage: Storage, log: Log) -> None:
        self._storage = storage
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def create_repository(self, place: Place, mark: str, capacity_bytes: int = 0) -> Usage:
        before = await self._storage.has_repository(place)
        usage = await self._storage.create_repository(place, mark, capacity_bytes)
        if before is None:
            self._log(mark, f"repository {place.uid}")
        return usage

    async def create_disk(self, place: Place, uid: str, size_bytes: int, *, mark: str, **options: Any) -> DiskFile:
        before = _file(await self._storage.find_disk(place, uid))
        disk = await self._storage.create_disk(place, uid, size_bytes, mark=mark, **options)
        if _file(disk) != before:
            self._log(mark, f"image {uid}")
        return disk


class _Hypervisor:
    """A hypervisor that is looked at before and after a guest is started."""

    def __init__(self, hypervisor: Hypervisor, log: Log) -> None:
        self._hypervisor = hypervisor
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hypervisor, name)

    async def start(self, spec: GuestSpec, mark: str) -> GuestInfo:
        before = _process(await self._hypervisor.find(spec.uid))
        guest = await self._hypervisor.start(spec, mark)
        if _process(guest) != before:
            self._log(mark, f"guest {spec.uid}")
        return guest


def _file(disk: DiskFile | None) -> object:
    """Return what tells an image from another one of the same name."""
    if disk is None:
        return None
    found = disk.path.stat()
    return found.st_ino, found.st_mtime_ns


def _process(guest: GuestInfo | None) -> object:
    """Return what tells a running guest from another run of it."""
    return (guest.pid, guest.started) if guest is not None and guest.running else None
