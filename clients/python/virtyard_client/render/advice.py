"""Advice: what a person does about a refusal, by its reason; nothing where the refusal's own sentence says it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["ADVICE"]

_DEFECT = "this is a defect of Virtyard: report it, with what the message names and the service's log of that time"
_OVERTAKEN = "another part has taken this over; look at the object as it is now, and ask again if it is still wanted"
ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "UNAVAILABLE": "see whether the services are up with `virtyard status`; the same command may be given again",
        "DEADLINE_EXCEEDED": "whether it was done is not known; look at the object, or give the same command again",
        "CONTENDED": "others kept changing the same objects; give the same command again",
        "INVALID_REQUEST": "",
        "NOT_FOUND": "check the name; the noun's `list` shows what there is",
        "ALREADY_EXISTS": "choose another name, or use what is there",
        "WRONG_STATE": "bring the object into another state first; its `describe` shows what may be done now",
        "BLOCKED_BY_EVENT": "",
        "CONDITION_STILL_HOLDS": "",
        "ETAG_MISMATCH": "read the object again, and decide by what it is now",
        "CAPACITY_EXHAUSTED": "ask for less, or free some of it first",
        "UNSUPPORTED": "use another server or driver, or bring client and services to one release",
        "PERMISSION_DENIED": "ask an administrator for a role that covers this",
        "UNAUTHENTICATED": "use a certificate of this site; `virtyard doctor` looks at the one in use",
        "CANCELLED": "nothing, if that was intended",
        "STALE_EPOCH": _OVERTAKEN,
        "STALE_TOKEN": _OVERTAKEN,
        "SUPERSEDED": _OVERTAKEN,
        "OWNER_CLOSED": _OVERTAKEN,
        "KEY_REFUSED": _OVERTAKEN,
        "GENERATION_MISMATCH": "the object changed meanwhile; give the same command again",
        "INTERNAL_ERROR": _DEFECT,
        "PAYLOAD_MISMATCH": _DEFECT,
        "DATA_LOSS": _DEFECT,
    }
)
"""What to do, for every reason that services give."""
