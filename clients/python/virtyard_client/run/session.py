"""A session: everything that one command line knows before it talks to a service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from virtyard_client.client import Client
from virtyard_client.command.flags import Flag
from virtyard_client.command.parse import Arguments
from virtyard_client.context import Context
from virtyard_client.render.screen import Screen
from virtyard_client.schema.model import Method
from virtyard_client.schema.schema import Schema


@dataclass(slots=True, kw_only=True)
class Session:
    """One verb with its request, ready to run."""

    schema: Schema
    """What the protos say."""
    screen: Screen
    """Where output goes."""
    method: Method
    """The verb."""
    flags: Sequence[Flag]
    """The verb's flags; refusals name them."""
    arguments: Arguments
    """What the command line says."""
    request: Any
    """The request message."""
    timeout: float | None = None
    """Seconds of --timeout."""
    following: str = ""
    """The operation that is being followed; Ctrl-C detaches from it."""

    @property
    def json(self) -> bool:
        """True if output is JSON lines."""
        return self.arguments.given("json")

    def connect(self) -> Client:
        """A client by --context, VIRTYARD_CONTEXT or the default context file.

        Raises:
            ContextError: there is none, or it cannot be read.
        """
        return Client.connect(Context.load(self.arguments.text("context") or None))
