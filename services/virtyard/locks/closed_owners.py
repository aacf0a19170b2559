"""The tombstones of the lock service: owners whose locks were released for ever, so that none comes back (P5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

__all__ = ["ClosedOwners", "ClosedOwnersInMemory"]


class ClosedOwners(Protocol):
    """The tombstones: owners whose locks were released for ever (P5)."""

    def epoch_of(self, owner: str) -> int | None:
        """Return the epoch at which the owner was closed, None if it never was."""
        ...

    def close(self, owner: str, epoch: int) -> None:
        """Remember that the owner is closed."""
        ...


class ClosedOwnersInMemory:
    """Tombstones in a dictionary."""

    def __init__(self, epochs: Mapping[str, int] | None = None) -> None:
        """Start with these owners closed, at these epochs."""
        self.epochs = dict(epochs or {})

    def epoch_of(self, owner: str) -> int | None:
        """Return the epoch at which the owner was closed, None if it never was."""
        return self.epochs.get(owner)

    def close(self, owner: str, epoch: int) -> None:
        """Remember that the owner is closed."""
        self.epochs[owner] = epoch
