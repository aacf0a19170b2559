"""Virtyard's own schema: the shipped descriptor set, and google's operations service in words.

google.longrunning comes without our options and comments, so the verbs over operations are written down here.
"""

from __future__ import annotations

from pathlib import Path

from virtyard import api
from virtyard_client.schema.model import Field, Kind, Message, Method
from virtyard_client.schema.schema import Schema

OPERATIONS = "google.longrunning.Operations"
OPERATION = "google.longrunning.Operation"

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
    return schema


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
