"""Present Repository: a child for each server, which may be put off, then the record of all that are wanted."""

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
from virtyard.api.actions.v1 import attach_repository_pb2, detach_other_repositories_pb2, remove_other_bridges_pb2
from virtyard.api.inventory.v1 import repository_pb2, server_pb2, write_objects_pb2
from virtyard.api.operations.v1 import present_repository_pb2
from virtyard.kernel.errors import EtagMismatch, InvalidRequest, NotFound, WrongState

Request = present_repository_pb2.PresentRepositoryRequest
WriteObjects = write_objects_pb2.WriteObjects
ASKED = Request(name="repositories/S", servers=["servers/b", "servers/a"])
ATTACH = ("AttachRepository", "DetachRepository", "undoable")
DETACH = ("DetachRepository", "AttachRepository", "undoable")
WRITE = ("WriteObjects", "RevertWrites", "undoable")


def site() -> Estate:
    """Return Finance's site with a repository S that no server has."""
    return finance().add(repository("S", path="/storage/s", servers=[]))


def test_each_server_has_a_child_that_may_be_put_off() -> None:
    """The host's step, or the note that the server is behind; the record comes after all of them."""
    plan = site().plan(ASKED)
    assert titles(plan) == ["Present Repository", *["  Present Repository to Server"] * 2]
    assert actions(plan) == [WRITE, ATTACH, WRITE, ATTACH, WRITE]
    assert [job.deferrable for job in plan.jobs] == [False, True, True]
    assert [step.if_deferred for step in plan.jobs[1].steps] == [False, True]
    assert plan.jobs[0].steps[0].after_children
    (attached, _) = done_by(plan, attach_repository_pb2.AttachRepository)
    assert (attached.repository, attached.repository_path) == ("repositories/S", "/storage/s")
    assert locks(plan) == {
        "repositories/S": "X",
        "servers/a": "X",
        "servers/b": "X",
        "serverPools/Finance": "IX",
    }
    assert plan.result_object == "repositories/S"


def test_record_names_the_servers_of_before_and_now_once_each() -> None:
    """What is there already is asked for again without harm."""
    recorded, *_ = done_by(finance().plan(Request(name="repositories/R", servers=["servers/b"])), WriteObjects)
    assert list(recorded.writes[0].update.object.repository.servers) == ["servers/a", "servers/b"]


def test_server_that_is_put_off_gets_the_next_number_of_changes() -> None:
    """Its desired revision rises above the applied one, whatever it was."""
    plan = behind().plan(Request(name="repositories/S", servers=["servers/b"]))
    noted = done_by(plan, WriteObjects)[-1].writes[0].update
    assert (noted.object.server.desired_revision, list(noted.update_mask.paths)) == (6, ["desired_revision"])


def test_server_that_is_behind_catches_up_with_all_of_its_pool() -> None:
    """It gets what it should have and loses what not, and is up to date after it."""
    estate = behind().add(repository("T", path="/storage/t", servers=["servers/a"]))
    plan = estate.plan(Request(name="repositories/S", servers=["servers/b"]))
    child = plan.jobs[1]
    assert [step.title for step in child.steps] == [
        "Detach what it should not have",
        "Remove bridges that it should not have",
        "Make the bridge of networks/lan",
        "Attach repositories/S",
        "Attach repositories/R",
        "Record that it is up to date",
        "Note that it is behind",
    ]
    level = done_by(plan, WriteObjects)[1].writes[0].update
    assert (level.object.server.applied_revision, list(level.update_mask.paths)) == (5, ["applied_revision"])
    (kept,) = done_by(plan, detach_other_repositories_pb2.DetachOtherRepositories)
    assert list(kept.repository_uids) == [estate.get(f"repositories/{name}").uid for name in "SR"]
    (bridges,) = done_by(plan, remove_other_bridges_pb2.RemoveOtherBridges)
    assert list(bridges.network_uids) == [estate.get("networks/lan").uid]


def test_server_that_is_offline_is_no_reason_for_a_refusal() -> None:
    """Whether it answers is asked when its turn comes."""
    estate = site()
    estate.get("servers/a").state = server_pb2.SERVER_STATE_OFFLINE
    assert len(estate.plan(ASKED).jobs) == 3


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (Request(name="repositories/X", servers=["servers/a"]), NotFound, "name"),
        (Request(name="repositories/S", servers=["servers/a"], etag="x"), EtagMismatch, "etag"),
        (Request(name="repositories/S", servers=["servers/a", "servers/x"]), NotFound, "servers[1]"),
        (Request(name="repositories/S", servers=["servers/a", "servers/a"]), InvalidRequest, "servers[1]"),
        (Request(name="repositories/S", servers=["servers/c"]), InvalidRequest, "servers[0]"),
    ],
)
def test_what_cannot_be_is_refused_by_field(request_: Request, error: type[Exception], field: str) -> None:
    """An unknown or changed repository, an unknown server, one named twice, one of no pool."""
    refused = refusal(site(), request_)
    assert type(refused) is error
    assert field_of(refused) == field


def test_repository_that_is_being_deleted_is_refused() -> None:
    """It must be ready."""
    estate = site()
    estate.get("repositories/S").state = repository_pb2.REPOSITORY_STATE_DELETING
    assert isinstance(refusal(estate, ASKED), WrongState)
