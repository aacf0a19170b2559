"""Virtyard's own schema: the shipped descriptor set, and google's operations service in words.

google.longrunning comes without our options and comments, so the verbs over operations are written down here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from virtyard import api
from virtyard_client.schema.model import Field, Kind, Message, Method
from virtyard_client.schema.schema import Schema

OPERATIONS = "google.longrunning.Operations"
INVENTORY = "virtyard.api.inventory.v1.InventoryService"
OPERATION = "google.longrunning.Operation"
CLIENT = "virtyard.client"
"""In place of a service: the verb is the client's own, made of several calls."""

_NAME = Field(
    name="name",
    kind=Kind.TEXT,
    required=True,
    positional=True,
    reference="virtyard.io/Operation",
    comment="The operation, as operations/12 or 12.",
)
_INT32 = (-(1 << 31), (1 << 31) - 1)


def own_schema() -> Schema:
    """Read `virtyard/api/descriptor.binpb` and declare the verbs over operations."""
    schema = Schema.from_bytes(Path(api.__path__[0], "descriptor.binpb").read_bytes())
    schema.declare(_methods(), _messages())
    schema.declare([*_composed(schema)], [])
    return schema


def _composed(schema: Schema) -> Iterator[Method]:
    """Yield the verbs that are made of several calls: describe and watch for every kind of object, and a few more."""
    methods = list(schema.methods())
    streams = {method.noun for method in methods if method.verb == "watch"}
    for method in methods:
        words = method.noun.replace("-", " ")
        if method.service != INVENTORY or method.noun == "event":
            continue
        if method.verb == "get":
            comment = f"Describes one {words}: its jobs, events and locks, and what may be done with it now."
            yield replace(method, service=CLIENT, name="Describe", verb="describe", comment=comment)
        elif method.verb == "list" and method.noun not in streams:
            comment = f"Watches every {words}: a line, or a table that redraws, for each change."
            yield replace(method, service=CLIENT, name="Watch", verb="watch", comment=comment)
    by_words = {(method.noun, method.verb): method for method in methods}
    comment = "Tells the whole story of a job's operation: every step with its tries and times, errors and events."
    yield replace(by_words["job", "show"], service=CLIENT, name="Transcript", verb="transcript", comment=comment)
    comment = "Shows what any verb would do, and does nothing: operation preview vm start web."
    yield replace(by_words["operation", "show"], service=CLIENT, name="Preview", verb="preview", comment=comment)


def _methods() -> list[Method]:
    said = {
        ("GetOperation", "show", OPERATION): "Shows one operation with its jobs and plan.",
        ("ListOperations", "list", "google.longrunning.ListOperationsResponse"): "Lists operations, the newest first.",
        ("WaitOperation", "wait", OPERATION): "Waits silently until an operation has ended; the exit code says how.",
        ("CancelOperation", "abort", "google.protobuf.Empty"): "Aborts an operation: what it did is undone.",
    }
    return [
        Method(
            service=OPERATIONS,
            name=name,
            request=f"google.longrunning.{name}Request",
            response=response,
            noun="operation",
            verb=verb,
            comment=comment,
            destructive=verb == "abort",
        )
        for (name, verb, response), comment in said.items()
    ]


def _messages() -> list[Message]:
    listed = (
        Field(name="filter", kind=Kind.TEXT, comment="An AIP-160 filter over state, title, principal and create_time."),
        Field(name="page_size", kind=Kind.WHOLE, bounds=_INT32, comment="The largest number of operations in a page."),
        Field(name="page_token", kind=Kind.TEXT, advanced=True, comment="The token that the page before ended with."),
    )
    fields = {
        "GetOperationRequest": (_NAME,),
        "ListOperationsRequest": listed,
        "WaitOperationRequest": (_NAME,),
        "CancelOperationRequest": (_NAME,),
    }
    return [
        Message(full_name=f"google.longrunning.{name}", file="", comment="", fields=own) for name, own in fields.items()
    ]
