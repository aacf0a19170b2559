"""Unpresent Repository: the record first, then a child for each server; never where a machine uses it."""

from __future__ import annotations

import pytest

from tests.unit.operations.estate import (
    actions,
    disk,
    done_by,
    field_of,
    finance,
    locks,
    machine,
    refusal,
    running,
    titles,
)
from virtyard.api.inventory.v1 import virtual_machine_pb2, write_objects_pb2
from virtyard.api.operations.v1 import unpresent_repository_pb2
from virtyard.kernel.errors import EtagMismatch, InvalidRequest, NotFound, WrongState

Request = unpresent_repository_pb2.UnpresentRepositoryRequest
ASKED = Request(name="repositories/R", servers=["servers/b"])
WRITE = ("WriteObjects", "RevertWrites", "undoable")


def test_record_comes_before_the_hosts() -> None:
    """From then on nobody is sent to the server for it."""
    plan = finance().plan(ASKED)
    assert titles(plan) == ["Unpresent Repository", "  Unpresent Repository from Server"]
    assert actions(plan) == [WRITE, ("DetachRepository", "AttachRepository", "undoable"), WRITE]
    assert [job.deferrable for job in plan.jobs] == [False, True]
    recorded, _ = done_by(plan, write_objects_pb2.WriteObjects)
    assert list(recorded.writes[0].update.object.repository.servers) == ["servers/a"]
    assert locks(plan) == {"repositories/R": "X", "servers/b": "X", "serverPools/Finance": "IX"}


def test_machines_that_use_it_there_are_listed() -> None:
    """Each is named; a machine elsewhere, or without a disk in it, is no reason."""
    estate = running()
    started = virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING
    estate.add(machine("db", state=started, on="servers/a")).add(disk("db-disk0", of="db"))
    estate.add(machine("bare", state=started, on="servers/b"))
    refused = refusal(estate, Request(name="repositories/R", servers=["servers/b", "servers/a"]))
    assert isinstance(refused, WrongState)
    assert field_of(refused) == "servers[1]"
    assert "virtualMachines/db, virtualMachines/web run on servers/a" in refused.message
    assert len(estate.plan(ASKED).jobs) == 2


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (Request(name="repositories/X", servers=["servers/a"]), NotFound, "name"),
        (Request(name="repositories/R", servers=["servers/a"], etag="x"), EtagMismatch, "etag"),
        (Request(name="repositories/R", servers=["servers/x"]), NotFound, "servers[0]"),
        (Request(name="repositories/R", servers=["servers/a", "servers/a"]), InvalidRequest, "servers[1]"),
        (Request(name="repositories/R", servers=["servers/c"]), InvalidRequest, "servers[0]"),
    ],
)
def test_what_cannot_be_is_refused_by_field(request_: Request, error: type[Exception], field: str) -> None:
    """An unknown or changed repository, an unknown server, one named twice, one that does not have it."""
    refused = refusal(finance(), request_)
    assert type(refused) is error
    assert field_of(refused) == field


def test_refusal_says_which_servers_have_it() -> None:
    """What is allowed is part of it."""
    refused = refusal(finance(), Request(name="repositories/R", servers=["servers/c"]))
    assert "allowed are servers/a, servers/b" in refused.message
