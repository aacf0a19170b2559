"""Resource names: every kind has one form, and what is not of that form is refused by field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtyard.api.inventory.v1 import object_pb2, server_pb2
from virtyard.kernel.errors import InvalidRequest, NotFound
from virtyard.kernel.names import check_id, check_name, collection_of, id_of, kind_of, kinds, unwrap, wrap

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
IDS = st.builds(
    lambda first, middle, last: first + middle + last,
    st.sampled_from(LETTERS),
    st.text(LETTERS + "._-", max_size=61),
    st.sampled_from(LETTERS),
)


def test_kinds_are_those_of_the_contract() -> None:
    """One for each field of Object, by the plural of its resource."""
    assert set(kinds()) == {
        "servers",
        "serverPools",
        "clusters",
        "heartbeatDevices",
        "repositories",
        "virtualDisks",
        "virtualMachines",
        "vnics",
        "networks",
        "images",
        "triggers",
        "schedules",
        "filters",
        "webhooks",
    }
    kind = kind_of("virtualMachines/web")
    assert (kind.type, kind.field, kind.noun) == ("virtyard.io/VirtualMachine", "virtual_machine", "virtual machine")


def test_name_of_no_kind_is_not_found() -> None:
    """The refusal names it."""
    with pytest.raises(NotFound) as caught:
        kind_of("people/ann")
    assert caught.value.resource == "people/ann"


@given(IDS)
def test_well_formed_id_is_taken_and_read_back(identifier: str) -> None:
    """What goes into a name comes out of it."""
    name = f"servers/{check_id(identifier, 'server_id')}"
    assert check_name(name, "virtyard.io/Server", "name") == name
    assert (collection_of(name), id_of(name)) == ("servers", identifier)


@pytest.mark.parametrize(
    "identifier", ["", "-", "a-", ".a", "_a", "a" * 64, "a b", "a/b", "ä", "a\n", "servers/a", "a\x00b", ".."]
)
def test_other_ids_are_refused(identifier: str) -> None:
    """The refusal names the field and says what is allowed."""
    with pytest.raises(InvalidRequest) as caught:
        check_id(identifier, "server_id")
    assert caught.value.violations[0].field == "server_id"
    assert "1 to 63 letters" in caught.value.message


@given(st.text(max_size=70))
def test_any_text_is_an_id_or_is_refused(text: str) -> None:
    """Nothing else happens, and no id could leave its folder or its line."""
    try:
        taken = check_id(text, "id")
    except InvalidRequest:
        return
    assert set(taken) <= set(LETTERS + "._-")
    assert 1 <= len(taken) <= 63
    assert taken not in {".", ".."}


@pytest.mark.parametrize("name", ["servers", "servers/", "/a", "serverPools/a", "servers/a/b", "servers/a b", "a"])
def test_name_of_another_kind_or_form_is_refused(name: str) -> None:
    """The refusal shows the form that is allowed."""
    with pytest.raises(InvalidRequest) as caught:
        check_name(name, "virtyard.io/Server", "server")
    assert "servers/ID" in caught.value.message


def test_name_of_a_type_that_is_no_object_is_left_alone() -> None:
    """Jobs and operations have names too, which their own service checks."""
    assert check_name("jobs/1-1", "virtyard.io/Job", "name") == "jobs/1-1"


@pytest.mark.parametrize("collection", sorted(kinds()))
def test_wrapped_object_comes_out_as_it_was(collection: str) -> None:
    """For every kind."""
    item = kinds()[collection].message()
    setattr(item, "name", f"{collection}/a")  # noqa: B010  # every kind has a name, which the type does not say
    wrapped = wrap(item)
    assert wrapped.WhichOneof("object") == kinds()[collection].field
    assert unwrap(wrapped) == item


def test_wrapping_copies() -> None:
    """Nobody changes a plan by changing what it was made from."""
    server = server_pb2.Server(name="servers/a")
    wrapped = wrap(server)
    server.display_name = "later"
    assert wrapped.server.display_name == ""


def test_empty_object_is_refused() -> None:
    """One kind must be set."""
    with pytest.raises(InvalidRequest):
        unwrap(object_pb2.Object())
