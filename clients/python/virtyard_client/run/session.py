"""A session: everything that one command line knows before it talks to a service."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from virtyard_client.client import Client
from virtyard_client.command.flags import Flag
from virtyard_client.command.parse import Arguments
from virtyard_client.command.request import message_class
from virtyard_client.command.usage import UsageError
from virtyard_client.context import Context
from virtyard_client.render import json_line
from virtyard_client.render.screen import Screen
from virtyard_client.schema.model import Method
from virtyard_client.schema.schema import Schema

FORMS = ("table", "json", "yaml")
"""What --output takes."""


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
    unanswered: str = ""
    """The id of a request that was sent and is not answered: whether it was done is not known."""

    @property
    def output(self) -> str:
        """The form of the output: table, json or yaml.

        Raises:
            UsageError: --output asks for another.
        """
        form = "json" if self.arguments.given("json") else self.arguments.text("output", "table")
        if form not in FORMS:
            raise UsageError(f"--output takes one of {', '.join(FORMS)}, not {form!r}")
        return form

    @property
    def verbose(self) -> bool:
        """True if the causes of an error are to be shown beneath it."""
        return self.arguments.given("verbose")

    @property
    def structured(self) -> bool:
        """True if output is for programs."""
        return self.output != "table"

    def print_message(self, message: Any) -> None:
        """Print a message in the form for programs that was asked for."""
        self.print_body(json_line.body(self.schema, message))

    def print_body(self, body: Any) -> None:
        """Print a value in the form for programs that was asked for."""
        self.screen.text(json_line.text_of(body, self.output))

    def name_request(self) -> None:
        """Give the request an id where its method takes one, so that asking again after a lost answer is harmless."""
        names = {field.name for field in self.schema.message(self.method.request).fields}
        if "request_id" in names and not self.request.request_id:
            self.request.request_id = str(uuid.uuid4())

    async def ask(self, client: Client) -> Any:
        """Call the method with the request, and return its answer."""
        names = {field.name for field in self.schema.message(self.method.request).fields}
        if "request_id" in names and not ("validate_only" in names and self.request.validate_only):
            self.unanswered = self.request.request_id
        method, response = self.method, message_class(self.schema, self.method.response)
        answer = await client.call(method.service, method.name, self.request, response, self.timeout)
        self.unanswered = ""
        return answer

    def verbs(self) -> list[Method]:
        """The verbs of the same noun."""
        return [method for method in self.schema.methods() if method.noun == self.method.noun]

    def reading(self, verb: str) -> Method:
        """The verb of the same noun that reads, as get or list."""
        return next(method for method in self.verbs() if method.verb == verb)

    @property
    def context(self) -> Context:
        """The context by --context, VIRTYARD_CONTEXT or the default context file.

        Raises:
            ContextError: it cannot be read.
        """
        return Context.load(self.arguments.text("context") or None)

    def connect(self) -> Client:
        """A client by --context, VIRTYARD_CONTEXT or the default context file.

        Raises:
            ContextError: there is none, or it cannot be read.
        """
        return Client.connect(self.context)
