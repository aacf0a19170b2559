"""Every name of a durable transition is one at which processes are killed, or is excepted here, with the reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.faults.stories import STORIES
from tests.faults.test_crash_points import BESIDE

SERVICES = Path(__file__).resolve().parents[2] / "services" / "virtyard"
NAMERS = frozenset({"transition", "commit", "_commit", "save", "_hook", "FloorKeeper"})
"""The calls that are given the name of a transition."""

APART = {
    "at a release's first start, where it is done again if it was not done": {"jobs.rows", "inventory.rows"},
    "the same request again, which changes nothing": {"jobs.repeated", "locks.closed"},
    "a person's lock: tests/integration/jobs/test_person_locks.py starts the scheduler again": {
        "jobs.lock_taken",
        "jobs.lock_ending",
        "jobs.lock_released",
        "jobs.forget_lock_ids",
    },
    "its object moved: tests/integration/jobs/test_person_lock_path.py starts the scheduler again": {"jobs.lock_moved"},
    "deliveries, made at least once: tests/integration/jobs/test_webhooks.py starts the scheduler again": {
        "jobs.webhook_queued",
        "jobs.webhook_taken",
        "jobs.webhook_failed",
        "jobs.webhook_key",
        "jobs.webhook_retry",
        "jobs.webhook_discarded",
        "jobs.webhook_gone",
    },
    "ends of operations put in line later: tests/integration/jobs/test_operation_ends.py starts the scheduler again": {
        "jobs.webhook_ends",
    },
    "after a restore, where nothing is taken before it is done: tests/faults/test_restore.py": {
        "jobs.compared",
        "jobs.let_go",
        "agent.resync",
    },
    "a lock service that lost its database: tests/integration/locks/test_reassertion.py": {"locks.reassert"},
    "a server that is proven dead, of which there is none on the site: tests/integration/jobs/test_deaths.py": {
        "jobs.proven",
        "jobs.told",
        "agent.proven",
    },
    "probation, which is itself about kills: tests/faults/test_poison.py": {
        "jobs.poisoned",
        "jobs.trying",
        "jobs.tried",
    },
    "what is left past the point of no return: tests/integration/jobs/test_past_pivot.py has the scheduler die at it": {
        "jobs.left",
    },
    "who had a step past the point of no return tried at once: tests/integration/jobs/test_past_pivot.py has it die": {
        "jobs.retry_asked",
    },
    "undone as the one that it gave way to is gone: tests/integration/jobs/test_yields.py has the scheduler die": {
        "jobs.given_way",
    },
    "shown to people, and no step depends on it": {"jobs.stalled", "inventory.flood", "inventory.folds"},
    "reports and requests of one commit, which are made again until they are answered": {
        "inventory.acknowledged",
        "inventory.certificate",
        "inventory.disconnected",
        "inventory.ended",
        "inventory.host_clock",
        "inventory.restarts",
    },
    "a disk that could not be written: tests/faults/test_bad_disks.py": {"database.tried"},
    "a message that begins nothing: an epoch rose, or what was refused is remembered": {"agent.heard"},
    "a step of the inventory is done within one commit, so that there is seldom one to settle": {"inventory.settled"},
}
"""Names that no story has, by the reason."""


def test_every_transition_is_tried_or_excepted() -> None:
    """A name that is new in the services is in neither, and one that is gone is in both no more."""
    named = set(names())
    told = {name for story in STORIES.values() for name in story.shows}
    beside = {name for name in named if BESIDE.fullmatch(name)}
    apart = {name for group in APART.values() for name in group}
    assert len(named) > 50, "they are looked for where they are"
    assert named - told - beside == apart
    assert told <= named
    assert not apart & (told | beside), "what is tried needs no excuse"


def names() -> Iterator[str]:
    """Yield the names of transitions in the services' code."""
    for path in SERVICES.rglob("*.py"):
        if "/api/" in str(path) or "/internal/" in str(path):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _name_of(node.func) in NAMERS:
                for argument in node.args:
                    yield from _texts(argument)


def _name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _texts(argument: ast.expr) -> Iterator[str]:
    """Yield the names that an argument may be: a text, or one of two."""
    if isinstance(argument, ast.IfExp):
        yield from _texts(argument.body)
        yield from _texts(argument.orelse)
    elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        head, dot, tail = argument.value.partition(".")
        if head in {"jobs", "locks", "agent", "inventory", "database"} and dot and tail.isidentifier():
            yield argument.value
