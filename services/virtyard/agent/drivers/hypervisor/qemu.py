"""The `qemu` hypervisor: one QEMU process per guest, started directly and asked over QMP.

A guest is a process in a session of its own, so it outlives the agent; its record, with the mark, is durable before
the process exists, and the process is known by its start time, never by its pid alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from virtyard.agent.drivers import process
from virtyard.agent.drivers.hypervisor import trial
from virtyard.agent.drivers.hypervisor.contract import GuestEnd, GuestInfo, GuestSpec, Probe
from virtyard.agent.drivers.hypervisor.guest_record import GuestRecord, check_spec, decode, encode
from virtyard.agent.drivers.hypervisor.qemu_account import read_end
from virtyard.agent.drivers.hypervisor.qemu_command import Emulator, GuestFiles, architecture, guest_arguments
from virtyard.agent.drivers.hypervisor.qemu_monitor import Monitor, MonitorError, open_monitor
from virtyard.agent.drivers.hypervisor.qemu_process import explain, open_taps, prepare, remove, spawn, version
from virtyard.agent.drivers.network.contract import Network
from virtyard.kernel.clock import Clock
from virtyard.kernel.errors import AlreadyExists, Unavailable, Unsupported, WrongState
from virtyard.runtime.durable_file import read_record, write_record
from virtyard.runtime.folders import SOCKET_PATH_BYTES
from virtyard.runtime.threads import Threads

_READY_SECONDS = 20.0
_QUIT_SECONDS = 2.0
_ASK_SECONDS = 2.0
_POLL_SECONDS = 0.005
_WAIT_SECONDS = 0.1
_DOWN = "shutdown"
_HALTED = (_DOWN, "paused", "prelaunch")


@dataclass(slots=True)
class _Guest:
    """A guest that this driver knows, with the watch over its process."""

    record: GuestRecord
    watch: process.Watch | None = None
    ending: bool = False
    """Whether this driver ends it, or starts it, just now: that its process is gone is no news then."""


class QemuHypervisor:
    """Runs guests as QEMU processes of this host."""

    name = "qemu"

    def __init__(
        self, *, state: Path, sockets: Path, clock: Clock, network: Network | None = None, binary: str | None = None
    ) -> None:
        """Keep records below `state` and monitors in the short folder `sockets`.

        Args:
            state: folder of the records.
            sockets: folder with a short path.
            clock: for the times that people see.
            network: gives taps; cards can only be in networks of their own if None.
            binary: the program; found in PATH if None.
        """
        self._state = state
        self._sockets = sockets
        self._clock = clock
        self._network = network
        self._binary = binary or f"qemu-system-{architecture()}"
        self._emulator: Emulator | None = None
        self._guests: dict[str, _Guest] = {}
        # A lock is there for as long as somebody has it or waits for it.
        self._locks = WeakValueDictionary[str, asyncio.Lock]()
        self._listeners: list[Callable[[], None]] = []
        self._threads = Threads("qemu", workers=4)

    @property
    def accelerator(self) -> str:
        """What guests run on, `kvm` or `tcg`; `none` before the probe."""
        return self._emulator.accelerator if self._emulator else "none"

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a guest starts or ends."""
        self._listeners.append(listener)

    async def probe(self) -> Probe:
        """Boot trial guests, unless that was done since the host's last boot."""
        binary = shutil.which(self._binary)
        if binary is None:
            return Probe(supported=False, reason=f"{self._binary} is not installed")
        if not process.is_supported():
            return Probe(supported=False, reason="guests are found again through /proc, which this system lacks")
        if len(os.fsencode(self._files("x").monitor)) > SOCKET_PATH_BYTES:
            return Probe(supported=False, reason=f"the path of the runtime folder is too long: {self._sockets}")
        self._state.mkdir(parents=True, exist_ok=True)
        said = await version(binary)
        verdict = await trial.judge(Emulator(binary=binary, version=said), self._state / "trial.json", self._threads)
        self._emulator = verdict.emulator if verdict.supported else None
        details = {"version": said, "accelerator": self.accelerator, "accelerator_reason": verdict.reason}
        reason = f"{said}, {self.accelerator}: {verdict.reason}"
        return Probe(supported=verdict.supported, reason=reason, details=details)

    async def open(self) -> None:
        """Find the guests of an earlier agent again and watch them."""
        (self._state / "guests").mkdir(parents=True, exist_ok=True)
        self._sockets.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in sorted((self._state / "guests").iterdir()):
            stored = await self._threads.run(read_record, folder / "guest.json")
            if stored is not None:
                record = await self._found_again(decode(stored))
                self._keep(record)

    async def close(self) -> None:
        """Stop watching; the guests run on."""
        for guest in self._guests.values():
            if guest.watch is not None:
                guest.watch.close()
        self._guests.clear()
        self._threads.close()

    async def start(self, spec: GuestSpec, mark: str) -> GuestInfo:
        """Start a QEMU process for the guest; see the contract."""
        emulator = self._emulator
        if emulator is None:
            raise Unsupported("QEMU has not run a trial guest on this host")
        await self._threads.run(check_spec, spec)
        async with self._lock(spec.uid):
            present = self._guests.get(spec.uid)
            if present is not None and _is_running(present.record):
                if present.record.mark == mark:
                    return self._info(present.record)
                raise AlreadyExists(f"{spec.name} runs on this host already", resource=spec.name)
            await self._forget(spec.uid)
            record = GuestRecord(spec=spec, mark=mark, accelerator=emulator.accelerator, started=self._clock.now())
            try:
                return await self._launch(emulator, record)
            except BaseException:
                await self._end(spec.uid, gently=False)
                await self._forget(spec.uid)
                raise

    async def kill(self, uid: str) -> bool:
        """End the guest, by its monitor if that answers and by SIGKILL if not, and forget it."""
        async with self._lock(uid):
            guest = self._guests.get(uid)
            if guest is None:
                return False
            ran = await self._end(uid, gently=True)
            await self._forget(uid)
        self._tell()
        return ran

    async def forget(self, uid: str, run: str) -> bool:
        """Remove every file of a guest that has ended."""
        async with self._lock(uid):
            guest = self._guests.get(uid)
            if guest is None or _is_running(guest.record) or self._info(guest.record).run != run:
                return False
            await self._forget(uid)
        self._tell()
        return True

    async def shut_down(self, uid: str, grace: float, *, on_wait: Callable[[int], None]) -> bool:
        """Press the power button, and wait until the guest has gone down; see the contract."""
        guest = self._guests.get(uid)
        if guest is None or not _is_running(guest.record):
            return True
        loop = asyncio.get_running_loop()
        begun = loop.time()
        on_wait(0)
        try:
            with contextlib.suppress(Unavailable):  # a guest that just ends is found to be down below
                await self._command(uid, Monitor.hold_after_shutdown, Monitor.press_power_button)
            while (waited := loop.time() - begun) < grace:
                if not _is_running(guest.record) or await self._status(uid) == _DOWN:
                    return True
                on_wait(int(waited))
                await asyncio.sleep(_WAIT_SECONDS)
        except BaseException:
            if await self.is_down(uid) and _is_running(guest.record):
                await self._command(uid, Monitor.reset)
            raise
        return await self.is_down(uid)

    async def is_down(self, uid: str) -> bool:
        """Tell whether the guest has gone down; if not, its next shutdown ends it as usual."""
        guest = self._guests.get(uid)
        if guest is None or not _is_running(guest.record):
            return True
        try:
            await self._command(uid, Monitor.end_after_shutdown)
        except Unavailable:
            if await _ends(guest.record):
                return True
            raise
        return await self._status(uid) == _DOWN

    async def boot(self, uid: str, mark: str) -> GuestInfo:
        """Reset the guest once under this mark, or start its process again; see the contract."""
        async with self._lock(uid):
            guest = self._guests.get(uid)
            if guest is None:
                raise WrongState(f"this host has no guest {uid} to boot", resource=uid)
            if not _is_running(guest.record):
                return await self._launch_again(guest.record, mark)
            status = await self._status(uid)
            if guest.record.booted != mark or status in _HALTED:
                if status not in _HALTED:
                    await self._command(uid, Monitor.pause)
                # Durable while the guest stands still: found running with this mark, it has been booted.
                record = dataclasses.replace(guest.record, booted=mark)
                self._keep(record)
                await self._threads.run(write_record, self._files(uid).record, encode(record))
                await self._command(uid, Monitor.reset)
            return self._info(self._guests[uid].record)

    async def find(self, uid: str) -> GuestInfo | None:
        """Return the guest; its monitor is asked too, so a process that only looks alive is seen through."""
        guest = self._guests.get(uid)
        if guest is None:
            return None
        info = self._info(guest.record)
        if info.running and await self._status(uid) in ("shutdown", "internal-error", "guest-panicked"):
            return dataclasses.replace(info, running=False)
        return info

    async def guests(self) -> list[GuestInfo]:
        """Return every guest that this driver has a record of, with how those ended that do not run."""
        return [await self._with_end(self._info(guest.record), guest) for _, guest in sorted(self._guests.items())]

    async def _with_end(self, info: GuestInfo, guest: _Guest) -> GuestInfo:
        """Add how a guest ended that does not run: this driver's own doing, what QEMU wrote, or the host's reboot."""
        if info.running:
            return info
        if guest.ending:
            return dataclasses.replace(info, end=GuestEnd.BY_ACTION)
        if guest.record.process is not None and guest.record.process.boot != process.boot_id():
            return dataclasses.replace(info, end=GuestEnd.CRASHED, end_reason="its host was rebooted under it")
        end, reason = await self._threads.run(read_end, self._files(info.uid).folder)
        return dataclasses.replace(info, end=end, end_reason=reason)

    async def _launch(self, emulator: Emulator, record: GuestRecord) -> GuestInfo:
        files = self._files(record.spec.uid)
        await self._threads.run(prepare, files, record)
        self._keep(record)
        taps = await open_taps(self._network, record.spec)
        try:
            # Not in a thread: a cancellation must not come between the process and our knowing it; it takes 1 ms.
            arguments = guest_arguments(emulator, record.spec, files, sorted(taps))
            identity = process.identify(spawn(arguments, files.output, taps))
        finally:
            for descriptor in taps.values():
                os.close(descriptor)
        if identity is not None:
            record = dataclasses.replace(record, process=identity)
            self._keep(record)
            await self._threads.run(write_record, files.record, encode(record))
        await self._wait_ready(record, files)
        self._tell()
        return self._info(record)

    async def _launch_again(self, ended: GuestRecord, mark: str) -> GuestInfo:
        """Start the process of a guest that has ended; when that fails, its record is there for another try."""
        if self._emulator is None:
            raise Unsupported("QEMU has not run a trial guest on this host")
        record = dataclasses.replace(ended, process=None, started=self._clock.now(), booted=mark)
        self._files(ended.spec.uid).monitor.unlink(missing_ok=True)
        try:
            return await self._launch(self._emulator, record)
        except BaseException:
            await self._end(ended.spec.uid, gently=False)
            raise

    async def _command(self, uid: str, *commands: Callable[[Monitor], Awaitable[None]]) -> None:
        """Give QEMU commands; raise Unavailable with its words if it does not take one."""
        try:
            async with open_monitor(self._files(uid).monitor, _ASK_SECONDS) as monitor:
                for command in commands:
                    await command(monitor)
        except (MonitorError, TimeoutError) as error:
            raise Unavailable(f"QEMU did not take a command: {error}", resource=uid) from error

    async def _wait_ready(self, record: GuestRecord, files: GuestFiles) -> None:
        """Return once the guest's monitor answers; raise what QEMU said if it ended instead."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                while await self._status(record.spec.uid) in ("", "prelaunch"):
                    if not _is_running(record):
                        raise await self._threads.run(explain, record.spec, files.output)
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise Unavailable(f"QEMU did not answer within {_READY_SECONDS:g} s", resource=record.spec.name) from None

    async def _status(self, uid: str) -> str:
        """Return QEMU's run state of the guest; "" if its monitor does not answer."""
        with contextlib.suppress(MonitorError, TimeoutError):
            async with open_monitor(self._files(uid).monitor, _ASK_SECONDS) as monitor:
                return await monitor.status()
        return ""

    async def _end(self, uid: str, *, gently: bool) -> bool:
        """End the guest's process and wait until it is gone; False if none ran."""
        guest = self._guests.get(uid)
        if guest is None:
            return False
        guest.ending = True
        if guest.watch is not None:
            guest.watch.close()
        if guest.record.process is None:
            return False
        ran = process.is_alive(guest.record.process)
        if gently and ran:
            with contextlib.suppress(MonitorError, TimeoutError):
                async with asyncio.timeout(_QUIT_SECONDS):
                    async with open_monitor(self._files(uid).monitor, _QUIT_SECONDS) as monitor:
                        await monitor.quit()
                    await process.wait_ended(guest.record.process)
        process.kill(guest.record.process)
        await process.wait_ended(guest.record.process)
        return ran

    async def _forget(self, uid: str) -> None:
        """Remove every file of a guest that does not run."""
        await self._threads.run(remove, self._files(uid))
        guest = self._guests.pop(uid, None)
        if guest is not None and guest.watch is not None:
            guest.watch.close()

    async def _found_again(self, record: GuestRecord) -> GuestRecord:
        """Return the record with the process that it belongs to, also if the agent died before it noted that."""
        if record.process is not None:
            return record
        files = self._files(record.spec.uid)
        for identity in await self._threads.run(lambda: list(process.find_by_argument(str(files.pidfile)))):
            found = dataclasses.replace(record, process=identity)
            await self._threads.run(write_record, files.record, encode(found))
            return found
        return record

    def _keep(self, record: GuestRecord) -> None:
        known = self._guests.get(record.spec.uid)
        if known is not None and known.watch is not None:
            known.watch.close()
        watch = process.Watch(record.process, self._tell) if record.process and _is_running(record) else None
        self._guests[record.spec.uid] = _Guest(record=record, watch=watch)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _info(self, record: GuestRecord) -> GuestInfo:
        running, files = _is_running(record), self._files(record.spec.uid)
        return GuestInfo(
            uid=record.spec.uid,
            name=record.spec.name,
            mark=record.mark,
            pid=record.process.pid if running and record.process else 0,
            running=running,
            accelerator=record.accelerator,
            serial_log=files.serial_log,
            # Guests that an earlier release started have none.
            display=files.display if running and files.display.exists() else None,
            started=record.started,
            run=record.process.run if record.process else "",
        )

    def _files(self, uid: str) -> GuestFiles:
        digest = hashlib.sha256(f"{self._state}\0{uid}".encode()).hexdigest()[:16]
        return GuestFiles(
            folder=self._state / "guests" / uid,
            monitor=self._sockets / f"{digest}.qmp",
            display=self._sockets / f"{digest}.vnc",
        )

    def _lock(self, uid: str) -> asyncio.Lock:
        return self._locks.setdefault(uid, asyncio.Lock())


def _is_running(record: GuestRecord) -> bool:
    return record.process is not None and process.is_alive(record.process)


async def _ends(record: GuestRecord) -> bool:
    """Tell whether a guest whose monitor hung up is just ending."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ASK_SECONDS):
            if record.process is not None:
                await process.wait_ended(record.process)
    return not _is_running(record)
