"""JSON lines: proto3 JSON, one object a line, the same that every other proto tool gives."""

from __future__ import annotations

import json
import re
from typing import Any

from google.protobuf import json_format

from virtyard_client.command.request import load_module
from virtyard_client.errors import ClientError
from virtyard_client.schema.schema import Schema

_TYPE_URL = re.compile(rb"type\.googleapis\.com/([A-Za-z_][\w.]*)")


def message_line(schema: Schema, message: Any) -> str:
    """A message as one line of JSON; what it carries in an Any is written out."""
    for found in set(_TYPE_URL.findall(message.SerializeToString())):
        load_module(schema, found.decode())
    return _line(json_format.MessageToDict(message))


def error_line(error: ClientError) -> str:
    """An error as one line of JSON."""
    body: dict[str, Any] = {"code": error.code, "reason": error.reason, "message": error.message}
    if error.violations:
        body["violations"] = [{"field": one.field, "description": one.description} for one in error.violations]
    if error.resource:
        body["resource"] = error.resource
    if error.locks:
        body["locks"] = [json_format.MessageToDict(lock) for lock in error.locks]
    if error.metadata:
        body["metadata"] = error.metadata
    return _line({"error": body})


def usage_line(message: str) -> str:
    """A usage error as one line of JSON, in the shape of every other error."""
    return _line({"error": {"code": "INVALID_ARGUMENT", "reason": "USAGE", "message": message}})


def _line(body: object) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(", ", ": "))
