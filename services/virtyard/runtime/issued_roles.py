"""Issued roles: what the authority's last certificate of each person says that she may do.

Roles travel in certificates, so nobody who is not calling shows any. The authority keeps a note beside itself of what
it issued last, for those who act in somebody's name when that person is away.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from virtyard.kernel.errors import PermissionDenied
from virtyard.kernel.permissions import role_from
from virtyard.runtime.durable_file import read_record

__all__ = ["IssuedRoles", "note_file", "note_of"]

_ROLES = "roles"


def note_file(authority: Path, person: str) -> Path:
    """Return the file for the note of a person, `ann` of `user/ann`, in the folder of an authority."""
    return authority / "roles" / f"{person}.json"


def note_of(roles: Collection[str]) -> bytes:
    """Return what is noted of a certificate with these roles, as `operator`."""
    return json.dumps({_ROLES: sorted(roles)}).encode()


class IssuedRoles:
    """Reads the notes; each time anew, as the authority is another process."""

    def __init__(self, authority: Path) -> None:
        """Read what is noted in the folder of an authority."""
        self._authority = authority

    def of(self, identity: str) -> frozenset[int] | None:
        """Return a person's roles, values of `Role`; None for whom nothing is noted, and for services and agents.

        Raises:
            PermissionDenied: something is noted and cannot be read.
            DataLoss: what is noted is no record.
        """
        kind, _, name = identity.partition("/")
        if kind != "user" or "/" in name:
            return None
        try:
            noted = read_record(note_file(self._authority, name))
        except OSError as error:
            raise PermissionDenied(f"what {identity} may do cannot be read: {error}", resource=identity) from error
        if noted is None:
            return None
        return frozenset(role for role in map(role_from, noted.get(_ROLES, ())) if role is not None)
