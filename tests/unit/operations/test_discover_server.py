"""Discover Server: the claim first, then a record made of what the host says."""

from __future__ import annotations

import pytest

from tests.unit.operations.estate import (
    OF_REPORTS,
    OWNER,
    Estate,
    actions,
    discovery,
    done_by,
    field_of,
    locks,
    refusal,
    server,
    titles,
)
from virtyard.api.actions.v1 import claim_host_pb2
from virtyard.api.inventory.v1 import server_pb2, write_objects_pb2
from virtyard.kernel.errors import AlreadyExists, InvalidRequest


def test_host_is_claimed_before_it_is_recorded() -> None:
    """One job: the claim on the host, with its undo, what it gives up of an earlier time, then the record."""
    plan = Estate().plan(discovery())
    assert titles(plan) == ["Discover Server"]
    assert actions(plan) == [
        ("ClaimHost", "ReleaseHost", "undoable"),
        ("DetachOtherRepositories", "DetachOtherRepositories", "undoable"),
        ("RemoveOtherBridges", "RemoveOtherBridges", "undoable"),
        ("WriteObjects", "RevertWrites", "undoable"),
    ]
    assert locks(plan) == {"servers/new": "X"}
    assert plan.result_object == "servers/new"


def test_claim_goes_to_the_address_that_was_given() -> None:
    """The inventory does not know the server yet, so each step carries its address; the claim is for this site."""
    plan = Estate().plan(discovery("h1.example.org:7443"))
    asked = plan.jobs[0].steps[:-1]
    assert {(step.participant, step.participant_address) for step in asked} == {("servers/new", "h1.example.org:7443")}
    assert done_by(plan, claim_host_pb2.ClaimHost) == [claim_host_pb2.ClaimHost(owner_id=OWNER, server="servers/new")]


def test_record_takes_its_facts_from_the_claim() -> None:
    """Every fact that a server's observation has and a host tells is bound; nothing of it is taken from the request."""
    request = discovery()
    request.server.observed.memory_bytes = 1
    plan = Estate().plan(request)
    recorded = done_by(plan, write_objects_pb2.WriteObjects)[0].writes[0].create.server
    assert recorded.state == server_pb2.SERVER_STATE_ONLINE
    assert not recorded.HasField("observed")
    assert dict(recorded.labels) == {"rack": "7"}
    bound = {binding.field_path.rpartition(".")[2] for binding in plan.jobs[0].steps[-1].bindings}
    told = set(server_pb2.ServerObservation.DESCRIPTOR.fields_by_name) - {"running_guests", *OF_REPORTS}
    assert bound == told | {"host_id"}


@pytest.mark.parametrize("address", ["127.0.0.1:7443", "[::1]:1", "[2001:db8::1]:65535", "s-1.example.org:7443"])
def test_address_of_every_form_is_taken(address: str) -> None:
    """Names, IPv4 and IPv6 in brackets."""
    assert Estate().plan(discovery(address)).jobs[0].steps[0].participant_address == address


@pytest.mark.parametrize(
    "address", ["", "host", "host:", ":1", "host:0", "host:65536", "http://host:1", "::1:7443", "host:1 ", "h:1\n"]
)
def test_address_that_is_not_host_and_port_is_refused(address: str) -> None:
    """The refusal names the field and shows what is allowed."""
    refused = refusal(Estate(), discovery(address))
    assert isinstance(refused, InvalidRequest)
    assert field_of(refused) == "server.agent_address"
    assert "host:port" in refused.message


def test_server_that_exists_is_refused() -> None:
    """A name is discovered once."""
    refused = refusal(Estate(server("new")), discovery())
    assert isinstance(refused, AlreadyExists)
    assert (field_of(refused), refused.resource) == ("server_id", "servers/new")


def test_id_that_is_no_id_is_refused() -> None:
    """An id is refused before anything is read."""
    request = discovery()
    request.server_id = "servers/new"
    refused = refusal(Estate(), request)
    assert isinstance(refused, InvalidRequest)
    assert field_of(refused) == "server_id"
