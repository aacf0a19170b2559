"""A storage of each kind, and a repository on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtyard.agent.drivers.storage.contract import Place
from virtyard.agent.drivers.storage.directory import DirectoryStorage
from virtyard.agent.drivers.storage.roots import StorageRoots

MARK = "12/1/1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The one storage root."""
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


@pytest.fixture(params=["qcow2", "raw"])
def storage(request: pytest.FixtureRequest, root: Path) -> Iterator[DirectoryStorage]:
    """The driver, with qemu-img and without."""
    if request.param == "qcow2" and shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not installed")
    storage = DirectoryStorage(
        roots=StorageRoots([root]), program="qemu-img" if request.param == "qcow2" else "no-such"
    )
    yield storage
    storage.close()


@pytest.fixture
def place(root: Path) -> Place:
    """Where the repository is, or will be."""
    return Place(path=str(root / "repo"), uid="r1")


@pytest.fixture
async def repository(storage: DirectoryStorage, place: Place) -> Place:
    """A repository without a limit."""
    await storage.create_repository(place, MARK)
    return place
