"""A filter and a span of time as one filter, as exports are asked for."""

from __future__ import annotations

from datetime import UTC
from typing import Literal, Protocol

from google.protobuf.descriptor import Descriptor
from google.protobuf.timestamp_pb2 import Timestamp

from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.filters import compile_filter

__all__ = ["Spanning", "filter_of"]


class Spanning(Protocol):
    """A request with a filter over things that have a create_time, and a span of it."""

    filter: str

    @property
    def since(self) -> Timestamp:
        """The earliest time."""
        ...

    @property
    def until(self) -> Timestamp:
        """The time before which all are."""
        ...

    def HasField(self, field_name: Literal["since", "until"], /) -> bool:  # noqa: N802 - the name that messages have
        """Return whether a time is set."""
        ...


def filter_of(request: Spanning, descriptor: Descriptor) -> str:
    """Return the filter of a request with its times in it.

    Raises:
        InvalidRequest: the filter cannot be read, or the times are the wrong way round.
    """
    since = request.since.ToDatetime(UTC) if request.HasField("since") else None
    until = request.until.ToDatetime(UTC) if request.HasField("until") else None
    if since is not None and until is not None and since >= until:
        raise InvalidRequest.of("until", f"{until.isoformat()} is not allowed; it must be after since")
    parts = [f"({request.filter})"] if request.filter.strip() else []
    parts += [f"create_time >= {since.isoformat()}"] if since is not None else []
    parts += [f"create_time < {until.isoformat()}"] if until is not None else []
    # Told by itself first, so that what is wrong with it is said of what was given.
    compile_filter(request.filter, descriptor)
    return " AND ".join(parts)
