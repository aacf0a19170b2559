"""Faults for tests: a process that kills or stops itself at a moment, and steps that fail.

Without the variables nothing is different.

``VIRTYARD_KILL_AT=jobs.C2`` kills right after the first durable transition of that name, ``jobs.Ck#2`` at the second,
``jobs.Ck@3/1`` at the first that begins or ends step 1 of job 3. ``VIRTYARD_STOP_AT`` is the same with SIGSTOP: the
process stands still there until somebody lets it go on.

``VIRTYARD_FAIL_FILE=PATH`` names a file that may be written while the process runs; while it holds ``3/1``, doing step
1 of job 3 is refused, whatever the operation; with ``3/1 acted`` it is done first, and fails then.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from google.protobuf.message import Message

from virtyard.agent.actions.catalogue import AnyAction
from virtyard.agent.actions.contract import Context, LeftBehindError, Outcome
from virtyard.kernel.errors import WrongState

KILL = "VIRTYARD_KILL_AT"
STOP = "VIRTYARD_STOP_AT"
FAIL = "VIRTYARD_FAIL_FILE"
_SIGNALS = {KILL: signal.SIGKILL, STOP: signal.SIGSTOP}

StepHook = Callable[[str, bool], None]
"""Is told the key of a step that is being done, and whether it has acted; raises where it is to fail."""


def kill_hook() -> Callable[[str], None] | None:
    """Return the hook for `Database.open`; None if no fault is asked for."""
    moments = [_Moment(os.environ[name], number) for name, number in _SIGNALS.items() if os.environ.get(name)]
    if not moments:
        return None

    def hook(transition: str) -> None:
        for moment in moments:
            moment.meet(transition)

    return hook


class _Moment:
    """The transition at which this process gets a signal from itself, once."""

    def __init__(self, text: str, number: signal.Signals) -> None:
        text, _, count = text.partition("#")
        self._name, _, self._step = text.partition("@")
        self._left = int(count or 1)
        self._signal = number

    def meet(self, transition: str) -> None:
        """Compare; a step is compared without the number of its operation."""
        name, _, step = transition.partition("@")
        if name == self._name and "/".join(step.split("/")[-2:]) == self._step:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._signal)


def step_hook() -> StepHook | None:
    """Return what lets the step that is named in the file fail; None if no fault is asked for."""
    path = os.environ.get(FAIL, "")
    return (lambda step_key, acted: _fail(Path(path), step_key, acted=acted)) if path else None


def failing(catalogue: Mapping[str, AnyAction]) -> Mapping[str, AnyAction]:
    """Return the actions of an agent; with faults, so that each looks into the file before and after it acts."""
    hook = step_hook()
    if hook is None:
        return catalogue
    return {name: _failing(action, hook) for name, action in catalogue.items()}


def _failing(action: AnyAction, hook: StepHook) -> AnyAction:
    async def do(message: Message, context: Context) -> Outcome:
        if context.undoing:
            return await action.do(message, context)
        hook(context.mark, False)
        outcome = await action.do(message, context)
        try:
            hook(context.mark, True)
        except WrongState as error:
            raise LeftBehindError(error, [f"all that {action.message.DESCRIPTOR.name} did"]) from error
        return outcome

    return replace(action, do=do)


def _fail(path: Path, step_key: str, *, acted: bool) -> None:
    wanted, _, when = path.read_text().strip().partition(" ") if path.exists() else ("", "", "")
    if wanted and step_key.partition("/")[2] == wanted and acted is (when == "acted"):
        raise WrongState(
            f"step {wanted} {'fails after it acted' if acted else 'is refused'}, for a test", resource=step_key
        )
