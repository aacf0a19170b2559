"""Issued roles: what the authority's last certificate of each person says that she may do.

Roles travel in certificates, so nobody who is not calling shows any. The authority keeps a note beside itself of what
it issued last, for those who act in somebody's name when that person is away.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from virtyard.kernel.errors import PermissionDenied
from virtyard.kernel.permissions import role_from
from virtyard.runtime.durable_file import read_record, write_record

__all__ = ["IssuedRoles", "note_roles"]

_FOLDER, _ROLES = "roles", "roles"


def note_roles(authority: Path, person: str, roles: Collection[str]) -> None:
    """Note what a person's certificate that is about to be issued says; it takes the place of what was noted before.

    Args:
        authority: the folder of the authority.
        person: the name within `user/`, as `ann`.
        roles: as `operator`.
    """
    folder = authority / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    write_record(folder / f"{person}.json", {_ROLES: sorted(roles)})


class IssuedRoles:
    """Reads the notes; each time anew, as the authority is another process."""

    def __init__(self, authority: Path) -> None:
        """Read what is noted in the folder of an authority."""
        self._folder = authority / _FOLDER

    def of(self, identity: str) -> frozenset[int] | None:
        """Return a person's roles, values of `Role`; None for whom nothing is noted, and for services and agents.

        Raises:
            PermissionDenied: something is noted and cannot be read.
            DataLoss: what is noted is no record.
        """
        kind, _, name = identity.partition("/")
        if kind != "user":
            return None
        try:
            noted = read_record(self._folder / f"{name}.json")
        except OSError as error:
            raise PermissionDenied(f"what {identity} may do cannot be read: {error}", resource=identity) from error
        if noted is None:
            return None
        return frozenset(role for role in map(role_from, noted[_ROLES]) if role is not None)
