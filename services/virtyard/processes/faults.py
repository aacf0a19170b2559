"""Faults for tests: a process that kills itself at a moment, and steps that are refused; without the variables nothing.

``VIRTYARD_KILL_AT=jobs.C2`` kills right after the first durable transition of that name, ``jobs.Ck#2`` at the second.
``VIRTYARD_FAIL_FILE=PATH`` names a file that may be written while the process runs; while it holds ``3/1``, doing step
1 of job 3 is refused, whatever the operation.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from google.protobuf.message import Message

from virtyard.agent.actions.catalogue import AnyAction
from virtyard.agent.actions.contract import Context, Outcome
from virtyard.kernel.errors import WrongState

KILL = "VIRTYARD_KILL_AT"
FAIL = "VIRTYARD_FAIL_FILE"


def kill_hook() -> Callable[[str], None] | None:
    """Return the hook for `Database.open`; None if no fault is asked for."""
    wanted, _, count = os.environ.get(KILL, "").partition("#")
    if not wanted:
        return None
    left = int(count or 1)

    def hook(transition: str) -> None:
        nonlocal left
        if transition == wanted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


def step_hook() -> Callable[[str], None] | None:
    """Return what refuses the step that is named in the file, by its step key; None if no fault is asked for."""
    path = os.environ.get(FAIL, "")
    return (lambda step_key: _refuse(Path(path), step_key)) if path else None


def failing(catalogue: Mapping[str, AnyAction]) -> Mapping[str, AnyAction]:
    """Return the actions of an agent; with faults, so that each looks into the file before it does anything."""
    hook = step_hook()
    if hook is None:
        return catalogue
    return {name: _failing(action, hook) for name, action in catalogue.items()}


def _failing(action: AnyAction, hook: Callable[[str], None]) -> AnyAction:
    async def do(message: Message, context: Context) -> Outcome:
        if not context.undoing:
            hook(context.mark)
        return await action.do(message, context)

    return replace(action, do=do)


def _refuse(path: Path, step_key: str) -> None:
    wanted = path.read_text().strip() if path.exists() else ""
    if wanted and step_key.partition("/")[2] == wanted:
        raise WrongState(f"step {wanted} is refused for a test", resource=step_key)
