"""A repository whose agent is killed at every single change of files while it is made or removed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from virtyard.agent.actions import create_repository_folder, remove_repository_folder
from virtyard.agent.actions.contract import Context
from virtyard.agent.attachments import Attachments
from virtyard.agent.drivers.storage.contract import Place
from virtyard.agent.drivers.storage.directory import DirectoryStorage
from virtyard.agent.drivers.storage.roots import StorageRoots
from virtyard.api.actions.v1 import create_repository_folder_pb2, remove_repository_folder_pb2

ROOT = Path(__file__).parents[3]


async def kill(what: str, folder: Path) -> list[Path]:
    """Kill an agent at each point; return the storage roots, the last one being of an agent that was not killed."""
    words = (sys.executable, "-m", "tests.integration.agent.repository_victim", what, str(folder))
    victim = await asyncio.create_subprocess_exec(*words, cwd=ROOT)
    async with asyncio.timeout(60):
        assert await victim.wait() == 0
    return sorted(folder.iterdir(), key=lambda root: int(root.name))


@asynccontextmanager
async def agent(root: Path) -> AsyncIterator[Context]:
    """What the next agent's actions are given."""
    storage = DirectoryStorage(roots=StorageRoots([root]), program="")
    host = cast(Any, SimpleNamespace(storage=storage, attachments=Attachments(root.parent.parent / root.name)))
    try:
        yield Context(host=host, mark="12/1/1", undoing=False, progress=lambda *_: None)
    finally:
        storage.close()


def _place(root: Path) -> Place:
    return Place(path=str(root / "repo"), uid="r1")


def names(root: Path) -> list[str]:
    """Everything below a storage root."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


WHOLE = ["repo", "repo/.trash", "repo/.virtyard-repository.json", "repo/disks"]


@pytest.mark.parametrize(("where", "before"), [("", []), (" in place", ["repo"])])
async def test_a_repository_that_was_half_made(tmp_path: Path, where: str, before: list[str]) -> None:
    """It is found whole or nothing is left of it; it can be made again, and taken away."""
    (tmp_path / "roots").mkdir()
    roots = await kill(f"create{where}", tmp_path / "roots")
    assert len(roots) > 6
    found = []
    for root in roots:
        make = create_repository_folder_pb2.CreateRepositoryFolder(
            repository_path=str(root / "repo"), repository_uid="r1"
        )
        async with agent(root) as context:
            outcome = await create_repository_folder.probe(make, context)
            found.append(outcome is not None)
            assert names(root) == (WHOLE if outcome is not None else before)
            await create_repository_folder.do(make, context)
            assert names(root) == WHOLE
            await context.host.storage.remove_repository(_place(root), context.mark)
            assert names(root) == before
    assert found == sorted(found)
    assert (found[0], found[-1]) == (False, True)


@pytest.mark.parametrize(("where", "before"), [("", []), (" in place", ["repo"])])
async def test_a_repository_that_was_half_removed_can_be_removed(tmp_path: Path, where: str, before: list[str]) -> None:
    """Asked once more, the next agent takes the rest away, and has it attached no more."""
    (tmp_path / "roots").mkdir()
    roots = await kill(f"remove{where}", tmp_path / "roots")
    assert len(roots) > 3
    for root in roots:
        remove = remove_repository_folder_pb2.RemoveRepositoryFolder(
            repository_path=str(root / "repo"), repository_uid="r1"
        )
        async with agent(root) as context:
            context.host.attachments.attach(_place(root), "repositories/r", "11/1/1")
            await remove_repository_folder.do(remove, context)
            assert context.host.attachments.mark("r1") is None
        assert names(root) == before
