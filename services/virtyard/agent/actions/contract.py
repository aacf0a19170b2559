"""The action contract: one message, what doing it means on this host, and what an agent that was killed finds of it.

An action cleans up after itself when it fails or is cancelled, so that both mean *nothing was left*. Where it cannot,
it raises `LeftBehindError`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Generic, TypeVar

from google.protobuf.message import Message

from virtyard.agent.attachments import Attachments
from virtyard.agent.claim import HostClaim
from virtyard.agent.drivers.heartbeat.contract import Heartbeat
from virtyard.agent.drivers.hypervisor.contract import Hypervisor
from virtyard.agent.drivers.network.contract import Network
from virtyard.agent.drivers.storage.contract import Storage
from virtyard.agent.drivers.storage.roots import StorageRoots
from virtyard.agent.drivers.storage.sources import ReadUpload
from virtyard.api.agent.v1 import agent_service_pb2
from virtyard.kernel.errors import VirtyardError


class Lane(Enum):
    """Kinds of work that do not wait for each other; facts and settling use none and always get through."""

    HOST = "host"
    """Claims and other work of a moment."""
    STORAGE = "storage"
    """Work on repositories and images."""
    HYPERVISOR = "hypervisor"
    """Starting guests."""
    ENDING = "ending"
    """Ending guests, or waiting until they end by themselves: it takes nothing of the host, so it never waits."""
    HEARTBEAT = "heartbeat"
    """Clusters and their devices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Everything of this host that an action may use."""

    server: str
    """The resource name of the server, as in the agent's certificate."""
    hypervisor: Hypervisor
    """Runs guests."""
    storage: Storage
    """Keeps repositories and images."""
    heartbeat: Heartbeat
    """Keeps memberships of clusters."""
    network: Network
    """Carries networks."""
    roots: StorageRoots
    """The folders that may be touched."""
    claim: HostClaim
    """Whose host this is."""
    attachments: Attachments
    """The repositories that are presented to it."""
    facts: Callable[[], Awaitable[agent_service_pb2.Host]]
    """Looks at the host as it is now."""
    read_upload: ReadUpload
    """Reads what the inventory keeps of uploads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What an action is told beside its message."""

    host: Host
    """The host."""
    mark: str
    """The step key: what the action creates carries it."""
    undoing: bool
    """Whether it is the undo of a step, and so touches only what that step made."""
    progress: Callable[[int, int, str], None]
    """Is told how many units are done, how many there are, and the stage."""

    @property
    def own_mark(self) -> str | None:
        """The mark that a thing must carry to be touched; None where any may be."""
        return self.mark if self.undoing else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a finished action gives."""

    result: Message | None = None
    """The typed result; None where an undo had nothing to do."""
    changed: bool = True
    """False where the wanted state was there already."""


class LeftBehindError(Exception):
    """Something was left that a person must look at.

    Attributes:
        error: what went wrong.
        residue: what was left, a sentence for each thing.
    """

    def __init__(self, error: VirtyardError, residue: Sequence[str]) -> None:
        """Say what went wrong and what was left."""
        super().__init__(error.message)
        self.error = error
        self.residue = tuple(residue)


M = TypeVar("M", bound=Message)


def on_every_host(host: Host) -> str:  # noqa: ARG001 - every reason has this shape
    """Say nothing: the action can be done on every host."""
    return ""


def cannot_bridge(host: Host) -> str:
    """Tell why a host cannot carry networks; empty if it can."""
    return host.network.unsupported


@dataclass(frozen=True, slots=True, kw_only=True)
class Action(Generic[M]):
    """One thing that a host can do."""

    message: type[M]
    """The message that asks for it."""
    lane: Lane
    """The lane that it runs in."""
    do: Callable[[M, Context], Awaitable[Outcome]]
    """Does it, or raises a VirtyardError, CancelledError (nothing was left) or LeftBehindError."""
    probe: Callable[[M, Context], Awaitable[Outcome | None]]
    """Finds out, by the mark, what a killed agent did, and returns the outcome if it was done.

    What is half done is removed, and None is returned, as where nothing was begun. An action that can only be done
    again, such as removing, does it again; where it has an undo, use `done_again`.
    """
    unsupported: Callable[[Host], str] = on_every_host
    """Tells why a host cannot do it now; "" if it can."""


def done_again(do: Callable[[M, Context], Awaitable[Outcome]]) -> Callable[[M, Context], Awaitable[Outcome]]:
    """Return the probe of an action that can only be done again, as it leaves no mark on what it took away.

    What is not there now may have been taken away by the agent that was killed, so that counts as changed: the undo
    puts it there. Its step was planned as the records have it there, so that is never more than they say.
    """

    async def probe(message: M, context: Context) -> Outcome:
        outcome = await do(message, context)
        return outcome if context.undoing else replace(outcome, changed=True)

    return probe
