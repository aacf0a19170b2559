"""Output for programs: proto3 JSON, one object a line, the same that every other proto tool gives; or that as YAML."""

from __future__ import annotations

import json
import re
from typing import Any

from google.protobuf import json_format

from virtyard_client.command.request import load_module
from virtyard_client.errors import ClientError
from virtyard_client.schema.schema import Schema

_TYPE_URL = re.compile(rb"type\.googleapis\.com/([A-Za-z_][\w.]*)")


def body(schema: Schema, message: Any) -> dict[str, Any]:
    """A message as JSON's own values; what it carries in an Any is written out."""
    for found in set(_TYPE_URL.findall(message.SerializeToString())):
        load_module(schema, found.decode())
    return dict(json_format.MessageToDict(message))


def text_of(value: Any, form: str) -> str:
    """A value as one line of JSON, or as one document of YAML."""
    if form == "yaml":
        import yaml

        return "---\n" + yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip("\n")
    return _line(value)


def error_line(error: ClientError, request_id: str = "") -> str:
    """An error as one line of JSON; with the id of a request of which it is not known whether it was done."""
    told: dict[str, Any] = {"code": error.code, "reason": error.reason, "message": error.message}
    if error.violations:
        told["violations"] = [{"field": one.field, "description": one.description} for one in error.violations]
    if error.resource:
        told["resource"] = error.resource
    if error.locks:
        told["locks"] = [json_format.MessageToDict(lock) for lock in error.locks]
    if error.metadata:
        told["metadata"] = error.metadata
    if request_id:
        told["request_id"] = request_id
    return _line({"error": told})


def usage_line(message: str) -> str:
    """A usage error as one line of JSON, in the shape of every other error."""
    return _line({"error": {"code": "INVALID_ARGUMENT", "reason": "USAGE", "message": message}})


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
