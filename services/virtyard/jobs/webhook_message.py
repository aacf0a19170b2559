"""What a webhook sends: an event, or an operation's end, as a CloudEvent in JSON, signed as Standard Webhooks have it.

CloudEvents 1.0, structured mode: https://github.com/cloudevents/spec. Standard Webhooks: the headers webhook-id,
webhook-timestamp and webhook-signature, an HMAC with SHA-256 over the three parts that the receiver has too.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from datetime import datetime

from google.longrunning import operations_pb2
from google.protobuf.json_format import MessageToDict

from virtyard.api.inventory.v1 import event_pb2
from virtyard.api.jobs.v1 import operation_pb2
from virtyard.jobs.model import Operation
from virtyard.jobs.render import render_metadata, render_operation

__all__ = [
    "CONTENT_TYPE",
    "SOURCE",
    "SOURCE_OF_ENDS",
    "body_of",
    "body_of_end",
    "delivery_id",
    "delivery_id_of_end",
    "end_type",
    "headers_of",
    "secret_of",
    "shown_at_end",
]

CONTENT_TYPE = "application/cloudevents+json"
SOURCE = "/virtyard/inventory"
"""The source of every event; with the id it is unique."""
SOURCE_OF_ENDS = "/virtyard/jobs"
"""The source of every end of an operation."""
_TYPE = "io.virtyard.event."
_TYPE_OF_ENDS = "io.virtyard.operation."


def delivery_id(uid: str, event: event_pb2.Event) -> str:
    """Return the id that is the same for the same webhook and event, and for no other, also after a restore."""
    return str(uuid.uuid5(uuid.UUID(uid), f"{event.name} {event.create_time.ToJsonString()}"))


def body_of(event: event_pb2.Event, identifier: str) -> bytes:
    """Return an event as a CloudEvent."""
    return _encode(
        {
            "specversion": "1.0",
            "id": identifier,
            "source": SOURCE,
            "type": f"{_TYPE}{event.type}",
            "subject": event.object,
            "time": event.create_time.ToJsonString(),
            "severity": event_pb2.Severity.Name(event.severity).removeprefix("SEVERITY_").lower(),
            "sequence": event.name.removeprefix("events/"),
            "datacontenttype": "application/json",
            "data": MessageToDict(event),
        }
    )


def delivery_id_of_end(uid: str, operation: Operation) -> str:
    """Return the id that is the same for the same webhook and operation, and for no other, also after a restore."""
    return str(uuid.uuid5(uuid.UUID(uid), f"{operation.name} {operation.record.create_time.ToJsonString()}"))


def end_type(operation: Operation) -> str:
    """Return how an operation has ended, as OPERATION_SUCCEEDED."""
    return operation_pb2.OperationState.Name(operation.record.state).replace("_STATE_", "_")


def shown_at_end(operation: Operation) -> operations_pb2.Operation:
    """Return an operation that has ended as it is sent: without the request, which may hold what is no receiver's."""
    metadata = render_metadata(operation)
    metadata.ClearField("request")
    metadata.ClearField("resume_tokens")
    shown = render_operation(operation)
    shown.metadata.Pack(metadata)
    return shown


def body_of_end(operation: Operation, shown: operations_pb2.Operation, identifier: str) -> bytes:
    """Return the end of an operation as a CloudEvent.

    Args:
        operation: it.
        shown: what `shown_at_end` made of it.
        identifier: the delivery's.
    """
    plan, kind = operation.shape.plan, end_type(operation)
    return _encode(
        {
            "specversion": "1.0",
            "id": identifier,
            "source": SOURCE_OF_ENDS,
            "type": f"{_TYPE_OF_ENDS}{kind.removeprefix('OPERATION_')}",
            "subject": operation.name,
            "time": operation.record.end_time.ToJsonString(),
            "object": plan.result_object or plan.jobs[0].object,
            "sequence": str(operation.number),
            "datacontenttype": "application/json",
            "data": _data(shown),
        }
    )


def _data(shown: operations_pb2.Operation) -> dict[str, object]:
    try:
        return MessageToDict(shown)
    except TypeError:
        # A participant of another release gave details of a type that is not known here.
        bare = operations_pb2.Operation()
        bare.CopyFrom(shown)
        del bare.error.details[:]
        return MessageToDict(bare)


def _encode(event: dict[str, object]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def secret_of(master: bytes, uid: str, version: int) -> bytes:
    """Return the secret of a webhook, which is derived and stored nowhere: 32 bytes."""
    return hmac.digest(master, f"webhook {uid} {version}".encode(), hashlib.sha256)


def headers_of(secrets: list[bytes], identifier: str, now: datetime, body: bytes) -> dict[str, str]:
    """Return the headers of one attempt; it is signed once with each secret.

    Args:
        secrets: the secrets that a receiver may have: the present one, and the one before it.
        identifier: the delivery's.
        now: the time of the attempt; a receiver refuses old ones.
        body: what is sent.
    """
    timestamp = str(int(now.timestamp()))
    signed = b".".join((identifier.encode(), timestamp.encode(), body))
    signatures = [f"v1,{base64.b64encode(hmac.digest(one, signed, hashlib.sha256)).decode()}" for one in secrets]
    return {
        "content-type": f"{CONTENT_TYPE}; charset=utf-8",
        "user-agent": "virtyard",
        "webhook-id": identifier,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }
