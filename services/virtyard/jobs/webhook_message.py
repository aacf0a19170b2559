"""What a webhook sends: an event as a CloudEvent in JSON, signed as Standard Webhooks have it.

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

from google.protobuf.json_format import MessageToDict

from virtyard.api.inventory.v1 import event_pb2

__all__ = ["CONTENT_TYPE", "SOURCE", "body_of", "delivery_id", "headers_of", "secret_of"]

CONTENT_TYPE = "application/cloudevents+json"
SOURCE = "/virtyard/inventory"
"""The source of every event; with the id it is unique."""
_TYPE = "io.virtyard.event."


def delivery_id(uid: str, event: event_pb2.Event) -> str:
    """Return the id that is the same for the same webhook and event, and for no other, also after a restore."""
    return str(uuid.uuid5(uuid.UUID(uid), f"{event.name} {event.create_time.ToJsonString()}"))


def body_of(event: event_pb2.Event, identifier: str) -> bytes:
    """Return an event as a CloudEvent."""
    return json.dumps(
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
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()


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
