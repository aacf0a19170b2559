"""Paths on shared storage, as people give them: absolute, and the same on every server."""

from __future__ import annotations

import posixpath

from virtyard.kernel.errors import InvalidRequest


def absolute_path(path: str, field: str) -> str:
    """Return the path without slashes at its end.

    Raises:
        InvalidRequest: it is not absolute, is the root, or has empty, `.` or `..` parts; the refusal names `field`.
    """
    trimmed = path.rstrip("/")
    if not trimmed.startswith("/") or trimmed.startswith("//") or posixpath.normpath(trimmed) != trimmed:
        allowed = "an absolute path below /, without '.', '..' or doubled slashes"
        raise InvalidRequest.of(
            field, f"{path!r} is not allowed; it must be {allowed}" if path else f"is required: {allowed}"
        )
    return trimmed


def overlap(one: str, other: str) -> bool:
    """Tell whether two paths are the same, or one lies inside the other."""
    return (one + "/").startswith(other + "/") or (other + "/").startswith(one + "/")
