"""Folders: XDG, root, no HOME, and socket paths that the kernel takes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from virtyard.kernel.errors import InvalidRequest
from virtyard.runtime.folders import SOCKET_PATH_BYTES, Folders, socket_path


def test_environment_names_folders_outright(tmp_path: Path) -> None:
    """VIRTYARD_STATE and VIRTYARD_RUNTIME win over everything."""
    environ = {"VIRTYARD_STATE": str(tmp_path / "s"), "VIRTYARD_RUNTIME": str(tmp_path / "r"), "HOME": "/nowhere"}
    folders = Folders.find(environ, user=1000)
    assert (folders.state, folders.runtime) == (tmp_path / "s", tmp_path / "r")
    folders.make()
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


def test_people_keep_state_under_xdg(tmp_path: Path) -> None:
    """XDG_STATE_HOME, else ~/.local/state; root keeps it in /var/lib."""
    assert Folders.find({"XDG_STATE_HOME": str(tmp_path)}, user=1000).state == tmp_path / "virtyard"
    assert Folders.find({"HOME": str(tmp_path)}, user=1000).state == tmp_path / ".local/state/virtyard"
    assert Folders.find({"HOME": str(tmp_path)}, user=0).state == Path("/var/lib/virtyard")


def test_without_a_home_state_is_temporary() -> None:
    """An unprivileged user without HOME still gets folders of its own."""
    folders = Folders.find({}, user=1234)
    assert "1234" in str(folders.state)
    assert len(str(folders.runtime)) < 60


def test_two_states_do_not_share_sockets(tmp_path: Path) -> None:
    """Each state folder has a runtime folder of its own, always the same one."""
    one, two = (Folders.find({}, user=1000, state=tmp_path / name).runtime for name in ("one", "two"))
    assert one != two
    assert one == Folders.find({}, user=1000, state=tmp_path / "one").runtime


def test_socket_path_that_is_too_long_is_refused() -> None:
    """A path above the kernel's limit is refused with the variable to set, one at the limit is taken."""
    folder = Path("/" + "x" * 90)
    assert len(str(socket_path(folder, "s" * (SOCKET_PATH_BYTES - 92)))) == SOCKET_PATH_BYTES
    with pytest.raises(InvalidRequest) as refusal:
        socket_path(folder, "s" * (SOCKET_PATH_BYTES - 91))
    assert refusal.value.violations[0].field == "VIRTYARD_RUNTIME"
