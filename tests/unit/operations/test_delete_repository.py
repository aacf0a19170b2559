"""Delete Repository: marked, taken off its servers, removed for good, forgotten; never with disks in it."""

from __future__ import annotations

import pytest

from tests.unit.operations.estate import (
    Estate,
    actions,
    behind,
    done_by,
    field_of,
    finance,
    locks,
    refusal,
    repository,
    titles,
)
from virtyard.api.actions.v1 import detach_other_repositories_pb2
from virtyard.api.inventory.v1 import repository_pb2, server_pb2, write_objects_pb2
from virtyard.api.operations.v1 import delete_repository_pb2
from virtyard.kernel.errors import EtagMismatch, NotFound, WrongState

Request = delete_repository_pb2.DeleteRepositoryRequest
EMPTY = Request(name="repositories/S")
DETACH = ("DetachRepository", "AttachRepository", "undoable")
WRITE = ("WriteObjects", "RevertWrites", "undoable")


def site() -> Estate:
    """Return Finance's site with an empty repository S."""
    return finance().add(repository("S", path="/storage/s"))


def test_servers_give_it_up_before_the_folder_goes_for_good() -> None:
    """The mark and the servers before it can be undone, the record after it is only tried forward."""
    plan = site().plan(EMPTY)
    assert titles(plan) == ["Delete Repository", *["  Unpresent Repository from Server"] * 2]
    assert actions(plan) == [
        WRITE,
        ("RemoveRepositoryFolder", "", "pivot"),
        ("WriteObjects", "", "forward"),
        *[DETACH, WRITE] * 2,
    ]
    assert [step.after_children for step in plan.jobs[0].steps] == [False, True, True]
    assert [(job.object, job.deferrable) for job in plan.jobs[1:]] == [("servers/a", True), ("servers/b", True)]
    marked, removed, *_ = done_by(plan, write_objects_pb2.WriteObjects)
    assert marked.writes[0].update.object.repository.state == repository_pb2.REPOSITORY_STATE_DELETING
    assert removed.writes[0].delete == "repositories/S"
    assert locks(plan) == {
        "repositories/S": "X",
        "servers/a": "X",
        "servers/b": "X",
        "serverPools/Finance": "IX",
    }
    assert plan.result_object == ""


def test_servers_that_it_is_not_presented_to_have_no_part_in_it() -> None:
    """Neither are they asked nor locked."""
    estate = site()
    estate.get("repositories/S").servers[:] = ["servers/b"]
    plan = estate.plan(EMPTY)
    assert [job.object for job in plan.jobs] == ["repositories/S", "servers/b"]
    assert locks(plan) == {"repositories/S": "X", "servers/b": "X", "serverPools/Finance": "IX"}


def test_server_that_is_behind_catches_up_with_the_others() -> None:
    """It keeps what it should have, and not what is deleted."""
    plan = behind().add(repository("T", path="/storage/t")).plan(Request(name="repositories/T"))
    (child,) = (job for job in plan.jobs if job.object == "servers/b")
    assert [step.title for step in child.steps] == [
        "Detach what it should not have",
        "Remove bridges that it should not have",
        "Make the bridge of networks/lan",
        "Attach repositories/R",
        "Record that it is up to date",
        "Note that it is behind",
    ]
    (kept,) = done_by(plan, detach_other_repositories_pb2.DetachOtherRepositories)
    assert list(kept.repository_uids) == [finance().get("repositories/R").uid]


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
