"""The composite token: where each subscription of a multiplexed watch stands, in one text that holds all of it.

It names a subscription by its id and by a digest of what it asks for, so that another request under the same id begins
anew. Nothing of it is kept here: any gateway can go on from it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from virtyard.api.gateway.v1 import gateway_service_pb2 as pb
from virtyard.kernel.errors import InvalidRequest

__all__ = ["digest_of", "join_tokens", "split_token"]

_DIGEST_BYTES = 9


def digest_of(subscription: pb.Subscription) -> str:
    """Return what tells one request from another: all of it but where it starts for the first time."""
    asked = pb.Subscription.FromString(subscription.SerializeToString())
    source = asked.WhichOneof("source")
    if source is not None:
        options = cast(Any, getattr(asked, source)).options
        options.ClearField("resume_token")
        options.ClearField("skip_snapshot")
    raw = asked.SerializeToString(deterministic=True)
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()[:_DIGEST_BYTES]).decode()


def join_tokens(places: Mapping[tuple[str, str], str]) -> str:
    """Return the composite of the tokens of subscriptions, by id and digest."""
    rows = [[name, digest, token] for (name, digest), token in places.items() if token]
    text = json.dumps(rows, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def split_token(token: str) -> Mapping[tuple[str, str], str]:
    """Return the tokens that a composite was made of; none for an empty one.

    Raises:
        InvalidRequest: it is no composite token.
    """
    if not token:
        return {}
    try:
        rows = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        places = {(name, digest): place for name, digest, place in rows}
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidRequest.of("resume_token", "must be the resume_token of a response, as it was received") from error
    if not all(isinstance(text, str) for key, place in places.items() for text in (*key, place)):
        raise InvalidRequest.of("resume_token", "must be the resume_token of a response, as it was received")
    return places
