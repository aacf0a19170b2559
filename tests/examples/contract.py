"""What an example of an operation type is. A file in this folder with an `EXAMPLE` is found by itself.

It is one good request, asked on a real site of simulated hosts, with what must be there first and the titles of its
jobs, and the bad requests that only this operation type can be asked. The suite of all operation types runs
each example to its end, kills processes in the middle of it, fails it at every step, and asks the bad requests.

The site: the pool `pool` of s1 and s2 with the repository `shared`, and s3 and s4, which are discovered and in no pool.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message

from tests.acceptance.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A request that is refused, and how."""

    request: Callable[[Site], Message]
    """Makes the request."""
    reason: str
    """The reason in the refusal's ErrorInfo."""
    field: str
    """The field at fault."""

    @property
    def code(self) -> str:
        """The gRPC code that goes with the reason, as the API guide has it."""
        return CODES[self.reason]


CODES = {
    "INVALID_REQUEST": "INVALID_ARGUMENT",
    "NOT_FOUND": "NOT_FOUND",
    "ALREADY_EXISTS": "ALREADY_EXISTS",
    "WRONG_STATE": "FAILED_PRECONDITION",
    "ETAG_MISMATCH": "ABORTED",
    "CAPACITY_EXHAUSTED": "RESOURCE_EXHAUSTED",
    "UNSUPPORTED": "UNIMPLEMENTED",
    "UNAVAILABLE": "UNAVAILABLE",
}
"""The gRPC code of each reason for which a request is refused."""


def nothing(site: Site) -> Sequence[Message]:  # every preparation has this shape
    """Ask for nothing first."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One good request and several bad ones."""

    request: Callable[[Site], Message]
    """Makes the good request."""
    titles: Sequence[str]
    """The titles of its jobs, in their order, those of children too."""
    prepare: Callable[[Site], Sequence[Message]] = nothing
    """What is asked for first, one after another."""
    again: Callable[[Site], Sequence[Message]] | None = None
    """What is asked for once it is done, so that it can be asked again; `prepare` if that is enough."""
    bad: Sequence[Bad] = ()
    """What is refused once that is there."""
    clustered: bool = False
    """True where the pool must be a cluster."""
    gone: str = ""
    """The server whose agent must have ended so long ago that it is offline; once proven dead it is not asked again."""


def load() -> Mapping[str, Example]:
    """Return every example by the name of its file, which is that of its operation type."""
    folder = Path(__file__).parent
    modules = {
        path.stem: importlib.import_module(f"tests.examples.{path.stem}")
        for path in sorted(folder.glob("*.py"))
        if path.stem not in {"contract", "updating"}
    }
    return {name: module.EXAMPLE for name, module in modules.items()}
