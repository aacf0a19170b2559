"""Faults for tests: a process that kills or stops itself at a moment, and steps that fail.

Without the variables nothing is different.

``VIRTYARD_KILL_AT=jobs.C2`` kills right after the first durable transition of that name, ``jobs.Ck#2`` at the second,
``jobs.Ck@3/1`` at the first that begins or ends step 1 of job 3. ``VIRTYARD_STOP_AT`` is the same with SIGSTOP: the
process stands still there until somebody lets it go on.

``VIRTYARD_MOMENTS=PATH`` does the same to a process that runs already: its transitions are added to ``PATH.log``, a
line each, and while there is ``PATH.at`` with ``kill jobs.Ck#2`` or ``stop jobs.C2``, that moment is waited for, as
counted from when the file was written. The file is gone once the moment has come, so a process that is started again
goes on.

``VIRTYARD_FAIL_FILE=PATH`` names a file that may be written while the process runs; while one of its lines is ``3/1``,
doing step 1 of job 3 is refused, whatever the operation; with ``3/1 acted`` it is done first, and fails then; with
``3/1 undo`` undoing it is refused.

``VIRTYARD_WALL_FILE=PATH`` names a file with the seconds by which the process sees the machine's wall clock set; it may
be written while the process runs, and nothing is set while it is not there.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from google.protobuf.message import Message

from virtyard.agent.actions.catalogue import AnyAction
from virtyard.agent.actions.contract import Context, LeftBehindError, Outcome
from virtyard.kernel.errors import WrongState
from virtyard.runtime.clock import SystemClock, machine_time

KILL = "VIRTYARD_KILL_AT"
STOP = "VIRTYARD_STOP_AT"
MOMENTS = "VIRTYARD_MOMENTS"
FAIL = "VIRTYARD_FAIL_FILE"
WALL = "VIRTYARD_WALL_FILE"
_SIGNALS = {KILL: signal.SIGKILL, STOP: signal.SIGSTOP}
_BY_WORD = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

StepHook = Callable[[str, str], None]
"""Is told the key of a step, and when: empty before it is done, `acted` after that, `undo`; raises to let it fail."""


def kill_hook() -> Callable[[str], None] | None:
    """Return the hook for `Database.open`; None if no fault is asked for."""
    moments: list[_Moment | _Ordered] = [
        _Moment(os.environ[name], number) for name, number in _SIGNALS.items() if os.environ.get(name)
    ]
    if os.environ.get(MOMENTS):
        moments.append(_Ordered(os.environ[MOMENTS]))
    if not moments:
        return None

    def hook(transition: str) -> None:
        for moment in moments:
            if moment.meet(transition):
                os.kill(os.getpid(), moment.signal)

    return hook


class _Moment:
    """The transition at which this process gets a signal from itself, once."""

    def __init__(self, text: str, number: signal.Signals) -> None:
        text, _, count = text.partition("#")
        self._name, _, self._step = text.partition("@")
        self._left = int(count or 1)
        self.signal = number

    def meet(self, transition: str) -> bool:
        """Compare, and tell if this is the moment; a step is compared without the number of its operation."""
        name, _, step = transition.partition("@")
        if name != self._name or "/".join(step.split("/")[-2:]) != self._step:
            return False
        self._left -= 1
        return self._left == 0


class _Ordered:
    """The transitions of this process, noted, and the moment among them that a file asks for now."""

    def __init__(self, path: str) -> None:
        self._log = os.open(f"{path}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._order = Path(f"{path}.at")
        self._stamp = 0
        self._moment: _Moment | None = None
        self.signal = signal.SIGKILL

    def meet(self, transition: str) -> bool:
        """Note a transition, and tell if it is the moment that was asked for."""
        with contextlib.suppress(OSError):  # the disk may be full, for a test too
            os.write(self._log, f"{transition}\n".encode())
        try:
            stamp = self._order.stat().st_mtime_ns
            if stamp != self._stamp:
                how, _, moment = self._order.read_text().strip().partition(" ")
                self._stamp, self._moment = stamp, _Moment(moment, _BY_WORD[how])
        except FileNotFoundError:
            self._moment = None
        if self._moment is None or not self._moment.meet(transition):
            return False
        self.signal = self._moment.signal
        self._moment = None
        try:
            self._order.unlink()
        except FileNotFoundError:  # whoever asked has given up just now
            return False
        return True


def process_clock() -> SystemClock:
    """Return the clock of a process that starts, over the machine's wall clock as it is or as a test has set it."""
    path = os.environ.get(WALL, "")
    return SystemClock(wall=lambda: machine_time() + _set_by(Path(path))) if path else SystemClock()


def _set_by(path: Path) -> float:
    try:
        return float(path.read_text())
    except FileNotFoundError:
        return 0.0


def step_hook() -> StepHook | None:
    """Return what lets the step that is named in the file fail; None if no fault is asked for."""
    path = os.environ.get(FAIL, "")
    return (lambda step_key, when: _fail(Path(path), step_key, when)) if path else None


def failing(catalogue: Mapping[str, AnyAction], hook: StepHook | None = None) -> Mapping[str, AnyAction]:
    """Return the actions of an agent, each of which tells the hook before and after it acts; the file's if none."""
    hook = hook or step_hook()
    if hook is None:
        return catalogue
    return {name: _failing(action, hook) for name, action in catalogue.items()}


def _failing(action: AnyAction, hook: StepHook) -> AnyAction:
    async def do(message: Message, context: Context) -> Outcome:
        if context.undoing:
            hook(context.mark, "undo")
            return await action.do(message, context)
        hook(context.mark, "")
        outcome = await action.do(message, context)
        try:
            hook(context.mark, "acted")
        except WrongState as error:
            raise LeftBehindError(error, [f"all that {action.message.DESCRIPTOR.name} did"]) from error
        return outcome

    return replace(action, do=do)


def _fail(path: Path, step_key: str, when: str) -> None:
    wanted = f"{step_key.partition('/')[2]} {when}".strip()
    if path.exists() and wanted in path.read_text().splitlines():
        raise WrongState(f"step {wanted} fails, for a test", resource=step_key)
