"""The storage roots."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtyard.agent.drivers.storage.roots import StorageRoots
from virtyard.kernel.errors import InvalidRequest


def test_what_is_below_a_root_is_allowed(tmp_path: Path) -> None:
    """Real paths are given back; a root that is itself a link is followed."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    roots = StorageRoots([tmp_path / "link"])
    assert roots.check(f"{tmp_path}/link/a/../b", "path") == (tmp_path / "real" / "b").resolve()
    assert roots.check(str(tmp_path / "real"), "path") == (tmp_path / "real").resolve()


@pytest.mark.parametrize("path", ["", "x", "/", "/etc/passwd", "{root}/..", "{root}/out/x", "{root}2/x", "{root}/\0"])
def test_everything_else_is_refused_by_the_fields_name(tmp_path: Path, path: str) -> None:
    """Relative paths, links and dots that lead out, and neighbours with a longer name are refused."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to("/")
    with pytest.raises(InvalidRequest) as refusal:
        StorageRoots([root]).check(path.format(root=root), "kernel_path")
    assert refusal.value.violations[0].field == "kernel_path"


def test_without_a_root_nothing_is_allowed() -> None:
    """The refusal says that none is set."""
    with pytest.raises(InvalidRequest, match="none is set"):
        StorageRoots([]).check("/tmp/x", "path")
