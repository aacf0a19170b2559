"""Delete Repository: marked, removed for good, forgotten; never with disks in it."""

from __future__ import annotations

import pytest

from tests.unit.operations.estate import Estate, actions, done_by, field_of, finance, locks, refusal, repository, titles
from virtyard.api.inventory.v1 import repository_pb2, server_pb2, write_objects_pb2
from virtyard.api.operations.v1 import delete_repository_pb2
from virtyard.kernel.errors import EtagMismatch, NotFound, WrongState

Request = delete_repository_pb2.DeleteRepositoryRequest
EMPTY = Request(name="repositories/S")


def site() -> Estate:
    """Return Finance's site with an empty repository S."""
    return finance().add(repository("S", path="/storage/s"))


def test_folder_is_the_point_of_no_return() -> None:
    """The mark before it can be undone, the record after it is only tried forward."""
    plan = site().plan(EMPTY)
    assert titles(plan) == ["Delete Repository"]
    assert actions(plan) == [
        ("WriteObjects", "RevertWrites", "undoable"),
        ("RemoveRepositoryFolder", "", "pivot"),
        ("WriteObjects", "", "forward"),
    ]
    marked, removed = done_by(plan, write_objects_pb2.WriteObjects)
    assert marked.writes[0].update.object.repository.state == repository_pb2.REPOSITORY_STATE_DELETING
    assert removed.writes[0].delete == "repositories/S"
    assert locks(plan) == {"repositories/S": "X", "serverPools/Finance": "IS"}
    assert plan.result_object == ""


def test_repository_with_disks_is_refused_with_their_names() -> None:
    """Every disk in it is named."""
    refused = refusal(finance(), Request(name="repositories/R"))
    assert isinstance(refused, WrongState)
    assert field_of(refused) == "name"
    assert "virtualDisks/web-disk0, virtualDisks/web-disk1" in refused.message


def test_repository_that_no_online_server_reaches_is_refused() -> None:
    """Somebody must remove the folder."""
    estate = site()
    for name in ("servers/a", "servers/b"):
        estate.get(name).state = server_pb2.SERVER_STATE_OFFLINE
    assert isinstance(refusal(estate, EMPTY), WrongState)


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (Request(name="repositories/T"), NotFound, "name"),
        (Request(name="repositories/S", etag="x"), EtagMismatch, "etag"),
    ],
)
def test_absent_or_changed_repository_is_refused(request_: Request, error: type[Exception], field: str) -> None:
    """The name must exist, and be what the caller read."""
    refused = refusal(site(), request_)
    assert type(refused) is error
    assert field_of(refused) == field
