"""The folders of an installation: state, configuration, and short ones for sockets.

Root keeps state in /var/lib/virtyard; everybody else under the XDG folders, or under /tmp where there is no HOME. The
path of a Unix socket has 107 bytes at most, so sockets live in a folder of their own whose name is short.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from virtyard.kernel.errors import InvalidRequest, WrongState

__all__ = ["SOCKET_PATH_BYTES", "Folders", "home_folder", "is_usable", "socket_path"]

SOCKET_PATH_BYTES = 107
"""The longest path of a Unix socket on Linux."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where one installation keeps its things."""

    state: Path
    """Databases, authority, certificates, logs."""
    runtime: Path
    """Sockets and pid files; empty after a reboot."""

    @classmethod
    def find(cls, environ: Mapping[str, str], *, user: int | None = None, state: Path | None = None) -> Folders:
        """Return the folders for an environment.

        Args:
            environ: VIRTYARD_STATE and VIRTYARD_RUNTIME set the folders outright; else XDG's variables and HOME count.
            user: the user id; of this process if not given.
            state: the state folder that the command line asked for.
        """
        user = os.getuid() if user is None else user
        given = state or _path(environ, "VIRTYARD_STATE")
        chosen = (given or _state(environ, user)).absolute()
        runtime = _path(environ, "VIRTYARD_RUNTIME") or _runtime(environ, user, chosen)
        return cls(state=chosen, runtime=runtime.absolute())

    def make(self) -> Folders:
        """Make the folders, readable by their owner only, and return them.

        Raises:
            WrongState: the runtime folder belongs to somebody else.
        """
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.runtime.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise WrongState(f"{self.runtime} belongs to somebody else", resource=str(self.runtime))
        return self


def socket_path(folder: Path, name: str) -> Path:
    """Return the path of a socket in a folder.

    Raises:
        InvalidRequest: it is longer than the kernel takes.
    """
    path = folder / name
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_BYTES:
        raise InvalidRequest.of(
            "VIRTYARD_RUNTIME",
            f"is too long: {path} has {length} bytes and a socket's path {SOCKET_PATH_BYTES} at most",
        )
    return path


def _state(environ: Mapping[str, str], user: int) -> Path:
    if user == 0:
        return Path("/var/lib/virtyard")
    named = environ.get("XDG_STATE_HOME") or environ.get("HOME")
    home = home_folder(environ, "XDG_STATE_HOME", ".local/state") if named else None
    if home is None or not is_usable(home):
        return Path(tempfile.gettempdir()) / f"virtyard-{user}" / "state"
    return home / "virtyard"


def _runtime(environ: Mapping[str, str], user: int, state: Path) -> Path:
    """Return a short folder that is this state folder's own, so that two installations do not meet."""
    mark = hashlib.sha256(os.fsencode(state)).hexdigest()[:8]
    if user == 0 and Path("/run").is_dir():
        return Path("/run/virtyard") / mark
    base = _path(environ, "XDG_RUNTIME_DIR")
    if base is not None and base.is_dir() and os.access(base, os.W_OK):
        return base / f"vy-{mark}"
    return Path("/tmp") / f"vy-{user}-{mark}"  # noqa: S108 - short on purpose; `make` checks who owns it


def home_folder(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    """Return a folder of the user: the one that XDG's variable names, else one below HOME, or below the account's home.

    Returns None if there is no home: a container may be run as a user who has no account.
    """
    if (named := _path(environ, variable)) is not None:
        return named
    if (home := _path(environ, "HOME")) is None:
        try:
            home = Path("~").expanduser()
        except RuntimeError:
            return None
    return home / below_home


def is_usable(folder: Path) -> bool:
    """Return whether the folder can be written, or made by writing its nearest parent."""
    for place in (folder, *folder.parents):
        if place.exists():
            return place.is_dir() and os.access(place, os.W_OK)
    return False


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    value = environ.get(name, "")
    try:
        return Path(value).expanduser() if value else None
    except RuntimeError:  # "~" of somebody without a home
        return None
