"""The storage roots: the only folders of a host that an agent touches for disks, kernels and heartbeat devices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from virtyard.kernel.errors import InvalidRequest


class StorageRoots:
    """The folders that an agent was told it may use."""

    def __init__(self, roots: Sequence[Path]) -> None:
        """Take the roots as they were given; symbolic links in them are followed at each check."""
        self.paths = tuple(roots)

    def check(self, path: str, field: str) -> Path:
        """Return the real path behind `path`, every symbolic link followed.

        Args:
            path: what a request says; need not exist.
            field: the request's field that says it, for the refusal.

        Raises:
            InvalidRequest: it is not absolute, or leads out of every root.
        """
        if not path.startswith("/") or "\0" in path:
            raise InvalidRequest.of(field, f"{path!r} is not an absolute path")
        real = Path(path).resolve()
        if any(real.is_relative_to(root.resolve()) for root in self.paths):
            return real
        allowed = ", ".join(str(root) for root in self.paths) or "none is set"
        raise InvalidRequest.of(field, f"{path!r} is not under a storage root of this agent; allowed is {allowed}")
