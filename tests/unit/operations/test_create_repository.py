"""Create Repository: the folder first, then the record; no two repositories share a folder."""

from __future__ import annotations

import pytest

from tests.unit.operations.estate import actions, done_by, field_of, finance, locks, new_repository, refusal, titles
from virtyard.api.actions.v1 import create_repository_folder_pb2
from virtyard.api.inventory.v1 import repository_pb2, server_pb2, write_objects_pb2
from virtyard.kernel.errors import AlreadyExists, InvalidRequest, NotFound, WrongState


def test_folder_is_laid_out_before_the_record() -> None:
    """One job: the folder on an online server, with its undo, then the record, ready at once."""
    request = new_repository("/storage/new/")
    request.repository.capacity_bytes = 1 << 30
    plan = finance().plan(request)
    assert titles(plan) == ["Create Repository"]
    assert actions(plan) == [
        ("CreateRepositoryFolder", "RemoveRepositoryFolder", "undoable"),
        ("WriteObjects", "RevertWrites", "undoable"),
    ]
    (folder,) = done_by(plan, create_repository_folder_pb2.CreateRepositoryFolder)
    record = done_by(plan, write_objects_pb2.WriteObjects)[0].writes[0].create.repository
    assert (folder.repository_path, folder.capacity_bytes) == ("/storage/new", 1 << 30)
    assert (record.path, record.uid, record.display_name) == ("/storage/new", folder.repository_uid, "N")
    assert record.state == repository_pb2.REPOSITORY_STATE_READY


def test_pool_is_kept_while_the_folder_is_made() -> None:
    """The pool is no ancestor of the repository; IS on it excludes its deletion and lets machines start."""
    assert locks(finance().plan(new_repository())) == {"repositories/N": "X", "serverPools/Finance": "IS"}


@pytest.mark.parametrize("path", ["", "storage", "/", "/storage/../etc", "/storage/./x", "/a//b", "//a", "/.."])
def test_path_that_is_not_plain_is_refused(path: str) -> None:
    """Only an absolute path without empty, '.' and '..' parts is taken."""
    refused = refusal(finance(), new_repository(path))
    assert isinstance(refused, InvalidRequest)
    assert field_of(refused) == "repository.path"


@pytest.mark.parametrize("path", ["/storage/r", "/storage/r/", "/storage/r/inside", "/storage"])
def test_path_of_another_repository_is_refused(path: str) -> None:
    """The same folder, one inside it, or one around it."""
    refused = refusal(finance(), new_repository(path))
    assert isinstance(refused, AlreadyExists)
    assert (field_of(refused), refused.resource) == ("repository.path", "repositories/R")


def test_path_beside_another_repository_is_taken() -> None:
    """A shared beginning of the name is no shared folder."""
    assert titles(finance().plan(new_repository("/storage/r2")))


def test_name_that_is_taken_is_refused() -> None:
    """The id is refused by its field."""
    request = new_repository()
    request.repository_id = "R"
    refused = refusal(finance(), request)
    assert isinstance(refused, AlreadyExists)
    assert field_of(refused) == "repository_id"


@pytest.mark.parametrize(("pool", "error"), [("", InvalidRequest), ("serverPools/none", NotFound)])
def test_pool_is_required_and_must_exist(pool: str, error: type[Exception]) -> None:
    """Both refusals name the field."""
    request = new_repository()
    request.repository.server_pool = pool
    refused = refusal(finance(), request)
    assert type(refused) is error
    assert field_of(refused) == "repository.server_pool"


@pytest.mark.parametrize("capacity", [1, (1 << 20) - 1, -1])
def test_capacity_that_holds_nothing_is_refused(capacity: int) -> None:
    """0 sets no limit; below 1 MiB no disk fits."""
    request = new_repository()
    request.repository.capacity_bytes = capacity
    assert field_of(refusal(finance(), request)) == "repository.capacity_bytes"


def test_pool_without_an_online_server_is_refused() -> None:
    """Each server is named with its state."""
    estate = finance()
    for name in ("servers/a", "servers/b"):
        estate.get(name).state = server_pb2.SERVER_STATE_OFFLINE
    refused = refusal(estate, new_repository())
    assert isinstance(refused, WrongState)
    assert "servers/a is offline, servers/b is offline" in refused.message
    assert field_of(refused) == "repository.server_pool"
