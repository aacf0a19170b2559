"""The `sim` hypervisor: machines that exist as files only, with latencies and faults that a test or demo sets.

It keeps every promise of the contract, those about restarts too, and carries thousands of guests: one small file
each, no process and no sync.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from weakref import WeakValueDictionary

from virtyard.agent.drivers.hypervisor.contract import GuestEnd, GuestInfo, GuestSpec, Probe
from virtyard.agent.drivers.hypervisor.guest_record import GuestRecord, check_values, decode, encode
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import AlreadyExists, CapacityExhausted, DataLoss, Unavailable, WrongState
from virtyard.runtime.durable_file import read_record
from virtyard.runtime.scope import TaskScope

_SETTINGS = "settings.json"
_LOOK_SECONDS = 0.1
_REASONS = {GuestEnd.CRASHED: "a simulated crash", GuestEnd.BY_GUEST: "the guest shut itself down"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimSettings:
    """What a simulated host does; read from `settings.json` in its state folder, before each action and on changes."""

    start_seconds: float = 0.0
    """How long a start takes."""
    kill_seconds: float = 0.0
    """How long a kill takes."""
    memory_bytes: int = 0
    """Memory for guests in all; 0 for no limit."""
    shutdown_seconds: float = 0.0
    """How long a guest takes to shut down; one that takes longer than it is given never does."""
    refuse_start: str = ""
    """If not empty, every start is refused with these words."""
    refuse_kill: str = ""
    """If not empty, every kill is refused with these words."""
    crash: Sequence[str] = ()
    """The uids of machines whose guests crash as soon as they run, or single runs of guests that do."""
    power_off: Sequence[str] = ()
    """The uids of machines whose guests shut themselves down as soon as they run, or single runs of guests that do."""


_UNTOUCHED = SimSettings()


class SimHypervisor:
    """Keeps guests as files."""

    name = "sim"
    accelerator = "none"

    def __init__(self, *, state: Path, clock: Clock, settings: SimSettings | None = None) -> None:
        """Keep guests below `state`; `settings`, if given, count instead of the file's."""
        self._state = state
        self._clock = clock
        self._settings = settings
        self._settings_path = str(state / _SETTINGS)
        self._read = 0, _UNTOUCHED
        self._guests: dict[str, GuestRecord] = {}
        self._ended: dict[str, GuestEnd] = {}
        # A lock is there for as long as somebody has it or waits for it.
        self._locks = WeakValueDictionary[str, asyncio.Lock]()
        self._listeners: list[Callable[[], None]] = []
        self._scope = TaskScope("sim")

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a guest starts or ends."""
        self._listeners.append(listener)

    async def probe(self) -> Probe:
        """Say that it works, which it does everywhere."""
        return Probe(supported=True, reason="simulated machines work everywhere", details={"accelerator": "none"})

    async def open(self) -> None:
        """Read the guests of an earlier agent; one that was half started is not there."""
        (self._state / "guests").mkdir(parents=True, exist_ok=True)
        for path in (self._state / "guests").glob("*.json"):
            stored = read_record(path)
            if stored is not None:
                record = decode(stored["guest"])
                self._guests[record.spec.uid] = record
                if stored["ended"]:
                    self._ended[record.spec.uid] = GuestEnd(stored.get("end") or "unknown")
        _ = self._scope.start(self._follow_settings(), name="settings")

    async def close(self) -> None:
        """Forget what is in memory; the files stay."""
        await self._scope.close()
        self._guests.clear()
        self._ended.clear()

    async def start(self, spec: GuestSpec, mark: str) -> GuestInfo:
        """Write the guest's file after the set latency; see the contract."""
        check_values(spec)
        settings = self._present_settings()
        async with self._lock(spec.uid):
            present = self._guests.get(spec.uid)
            if present is not None and spec.uid not in self._ended:
                if present.mark == mark:
                    return self._info(present)
                raise AlreadyExists(f"{spec.name} runs on this host already", resource=spec.name)
            if settings.refuse_start:
                raise Unavailable(settings.refuse_start, resource=spec.name)
            self._check_memory(spec, settings)
            await asyncio.sleep(settings.start_seconds)
            record = GuestRecord(spec=spec, mark=mark, accelerator="none", started=self._clock.now())
            self._write(record, None)
        self._tell()
        return self._info(record)

    async def kill(self, uid: str) -> bool:
        """Remove the guest's file after the set latency."""
        settings = self._present_settings()
        async with self._lock(uid):
            if uid not in self._guests:
                return False
            if settings.refuse_kill:
                raise Unavailable(settings.refuse_kill)
            await asyncio.sleep(settings.kill_seconds)
            ran = uid not in self._ended
            self._remove(uid)
        self._tell()
        return ran

    async def forget(self, uid: str, run: str) -> bool:
        """Remove the file of a guest that has ended."""
        async with self._lock(uid):
            record = self._guests.get(uid)
            if record is None or uid not in self._ended or _run(record) != run:
                return False
            self._remove(uid)
        self._tell()
        return True

    def _remove(self, uid: str) -> None:
        self._path(uid).unlink(missing_ok=True)
        self._guests.pop(uid)
        self._ended.pop(uid, None)

    async def shut_down(self, uid: str, grace: float, *, on_wait: Callable[[int], None]) -> bool:
        """Let the guest end after the set latency."""
        if uid in self._guests and uid not in self._ended:
            takes = self._present_settings().shutdown_seconds
            on_wait(0)
            await asyncio.sleep(min(takes, grace))
            if takes > grace:
                return False
            if uid in self._guests:
                self.end(uid, GuestEnd.BY_GUEST)
        return True

    async def is_down(self, uid: str) -> bool:
        """Tell whether the guest has ended."""
        return uid not in self._guests or uid in self._ended

    async def boot(self, uid: str, mark: str) -> GuestInfo:
        """Let a guest that has ended run again, after the latency of a start."""
        async with self._lock(uid):
            record = self._guests.get(uid)
            if record is None:
                raise WrongState(f"this host has no guest {uid} to boot", resource=uid)
            if uid in self._ended or record.booted != mark:
                await asyncio.sleep(self._present_settings().start_seconds)
                record = dataclasses.replace(record, booted=mark, started=self._clock.now())
                self._write(record, None)
        self._tell()
        return self._info(record)

    async def find(self, uid: str) -> GuestInfo | None:
        """Return the guest, or None."""
        record = self._guests.get(uid)
        return None if record is None else self._info(record)

    async def guests(self) -> list[GuestInfo]:
        """Return every guest."""
        return [self._with_end(self._info(self._guests[uid])) for uid in sorted(self._guests)]

    def end(self, uid: str, end: GuestEnd = GuestEnd.CRASHED) -> None:
        """Let a guest end by itself, by a crash if nothing else is said."""
        self._write(self._guests[uid], end)
        self._tell()

    async def _follow_settings(self) -> None:
        """Let guests end as the settings say, which somebody changes from outside, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                settings = self._present_settings()
            except (OSError, ValueError, DataLoss):
                continue  # somebody is just writing it
            if not settings.crash and not settings.power_off:
                continue
            for end, named in ((GuestEnd.CRASHED, settings.crash), (GuestEnd.BY_GUEST, settings.power_off)):
                for uid in [uid for uid, record in self._guests.items() if {uid, _run(record)}.intersection(named)]:
                    if uid not in self._ended and not self._lock(uid).locked():
                        self.end(uid, end)

    def _write(self, record: GuestRecord, end: GuestEnd | None) -> None:
        path = self._path(record.spec.uid)
        aside = path.with_suffix(".new")
        stored = {"guest": encode(record), "ended": end is not None, "end": end.value if end else ""}
        aside.write_text(json.dumps(stored), encoding="utf-8")
        aside.replace(path)
        self._guests[record.spec.uid] = record
        self._ended.pop(record.spec.uid, None)
        if end is not None:
            self._ended[record.spec.uid] = end

    def _check_memory(self, spec: GuestSpec, settings: SimSettings) -> None:
        used = sum(record.spec.memory_bytes for uid, record in self._guests.items() if uid not in self._ended)
        if settings.memory_bytes and used + spec.memory_bytes > settings.memory_bytes:
            raise CapacityExhausted(
                f"{spec.memory_bytes} bytes of memory asked for, {settings.memory_bytes - used} are free",
                resource=spec.name,
            )

    def _present_settings(self) -> SimSettings:
        if self._settings is not None:
            return self._settings
        try:
            stamp = os.stat(self._settings_path).st_mtime_ns  # noqa: PTH116 - asked before each action
        except FileNotFoundError:
            return _UNTOUCHED
        if stamp != self._read[0]:
            stored = read_record(Path(self._settings_path)) or {}
            known = {field.name for field in fields(SimSettings)}
            self._read = stamp, SimSettings(**{name: value for name, value in stored.items() if name in known})
        return self._read[1]

    def _info(self, record: GuestRecord) -> GuestInfo:
        return GuestInfo(
            uid=record.spec.uid,
            name=record.spec.name,
            mark=record.mark,
            pid=0,
            running=record.spec.uid not in self._ended,
            accelerator="none",
            serial_log=None,
            display=None,
            started=record.started,
            run=_run(record),
        )

    def _with_end(self, info: GuestInfo) -> GuestInfo:
        end = self._ended.get(info.uid)
        return info if end is None else dataclasses.replace(info, end=end, end_reason=_REASONS.get(end, ""))

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _path(self, uid: str) -> Path:
        return self._state / "guests" / f"{uid}.json"

    def _lock(self, uid: str) -> asyncio.Lock:
        return self._locks.setdefault(uid, asyncio.Lock())


def _run(record: GuestRecord) -> str:
    """Return what tells this run of a guest from every other one."""
    return f"{record.booted or record.mark}@{record.started.isoformat()}"
