"""Updates: every kind of object has one, it changes what its mask names, and nothing else may be named."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.operations.estate import Estate, done_by, field_of, refusal, titles, update_cases
from virtyard.api.inventory.v1 import virtual_machine_pb2, webhook_pb2, write_objects_pb2
from virtyard.api.operations.v1 import update_virtual_machine_pb2, update_webhook_pb2
from virtyard.kernel.errors import EtagMismatch, InvalidRequest, NotFound
from virtyard.kernel.names import kinds, unwrap
from virtyard.kernel.options import hint_of
from virtyard.kernel.validation import validate
from virtyard.operations.updating import object_field

CASES = update_cases()
WEB = "virtualMachines/web"


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> tuple[Estate, Any, Any]:
    """Return a site, a request, and the object inside it."""
    estate, asked = CASES[request.param]
    copy: Any = type(asked)()
    copy.CopyFrom(asked)
    return estate, copy, getattr(copy, object_field(copy).name)


def written(estate: Estate, request: Any) -> tuple[list[str], Any]:
    """Return the paths and the object that a plan writes."""
    (write,) = done_by(estate.plan(request), write_objects_pb2.WriteObjects)
    update = write.writes[0].update
    return list(update.update_mask.paths), unwrap(update.object)


def test_every_kind_of_object_has_its_update() -> None:
    """A kind that is added without one is named here."""
    assert {f"Update {kind.noun}" for kind in kinds().values()} == set(CASES)


def test_only_what_is_set_is_changed_where_there_is_no_mask(case: tuple[Estate, Any, Any]) -> None:
    """AIP-134: an omitted mask stands for the fields that are populated; what only the server sets is dropped."""
    estate, request, wanted = case
    wanted.description = "by the door"
    wanted.uid, wanted.generation = "made up", 99
    paths, now = written(estate, request)
    assert paths == ["labels", "description"]
    assert (dict(now.labels), now.description, now.uid) == ({"rack": "7"}, "by the door", "")


def test_mask_takes_values_away(case: tuple[Estate, Any, Any]) -> None:
    """A field that is named and not set is emptied; one that is set and not named is left alone."""
    estate, request, _ = case
    request.update_mask.paths.append("description")
    paths, now = written(estate, request)
    assert (paths, now.description, dict(now.labels)) == (["description"], "", {})


def test_star_stands_for_all_that_can_be_changed(case: tuple[Estate, Any, Any]) -> None:
    """A full replacement needs a display name that can be shown."""
    estate, request, wanted = case
    request.update_mask.paths.append("*")
    assert field_of(refusal(estate, request)).endswith(".display_name")
    settable = hint_of(object_field(request)).settable
    for field in wanted.DESCRIPTOR.fields:
        if field.name in settable[3:]:
            # A definition must say what it does; other kinds of object have nothing else that can be changed here.
            part = type(wanted)()
            part.CopyFrom(estate.get(wanted.name))
            for other in {each.name for each in wanted.DESCRIPTOR.fields} - {field.name}:
                part.ClearField(other)
            wanted.MergeFrom(part)
    wanted.display_name = "Ånother"
    assert written(estate, request)[0] == list(settable)
    assert list(settable)[:3] == ["display_name", "labels", "description"]


@pytest.mark.parametrize("path", ["uid", "generation", "nothing", "labels.rack", "name", "etag", ""])
def test_mask_that_names_something_else_is_refused(case: tuple[Estate, Any, Any], path: str) -> None:
    """The refusal names the mask and what is allowed."""
    estate, request, _ = case
    request.update_mask.paths.extend(["labels", path])
    refused = refusal(estate, request)
    assert isinstance(refused, InvalidRequest)
    assert field_of(refused) == "update_mask"
    assert f"{', '.join(hint_of(object_field(request)).settable)}, *" in refused.message


def test_nothing_to_change_is_refused(case: tuple[Estate, Any, Any]) -> None:
    """No mask and no value: the caller forgot something."""
    estate, request, wanted = case
    wanted.labels.clear()
    assert field_of(refusal(estate, request)) == "update_mask"


def test_object_that_moved_or_is_not_there_is_refused(case: tuple[Estate, Any, Any]) -> None:
    """A stale etag is refused, the present one taken; another object's name is not found, or of the wrong kind."""
    estate, request, wanted = case
    name = wanted.name
    wanted.etag = "old"
    assert isinstance(refusal(estate, request), EtagMismatch)
    wanted.etag = f"etag-{name}"
    assert titles(estate.plan(request))
    wanted.name = name + "x"
    missing = refusal(estate, request)
    assert isinstance(missing, NotFound)
    assert field_of(missing).endswith(".name")
    for wrong in ("", "events/1", "x"):
        wanted.name = wrong
        assert field_of(refusal(estate, request)).endswith(".name")


@pytest.mark.parametrize(
    "labels",
    [{"": "x"}, {"A": "x"}, {"-a": "x"}, {"a" * 64: "x"}, {"a": "x" * 256}, {f"k{number}": "" for number in range(65)}],
)
def test_labels_that_cannot_be_written_are_refused(labels: dict[str, str]) -> None:
    """Keys are short words, values short texts, and there are at most 64."""
    machine = virtual_machine_pb2.VirtualMachine(name=WEB, labels=labels)
    with pytest.raises(InvalidRequest) as refused:
        validate(update_virtual_machine_pb2.UpdateVirtualMachineRequest(virtual_machine=machine))
    assert {violation.field for violation in refused.value.violations} == {"virtual_machine.labels"}


def test_field_that_is_changed_elsewhere_is_refused_by_name() -> None:
    """Memory is no matter of an update: it is not dropped silently."""
    estate, _ = CASES["Update virtual machine"]
    machine = virtual_machine_pb2.VirtualMachine(name=WEB, memory_bytes=1 << 30, description="x")
    request = update_virtual_machine_pb2.UpdateVirtualMachineRequest(virtual_machine=machine)
    assert field_of(refusal(estate, request)) == "virtual_machine.memory_bytes"


@pytest.mark.parametrize(
    ("within", "error"),
    [
        ("serverPools/none", NotFound),
        ("pool", InvalidRequest),
        ("pools/a", InvalidRequest),
        ("servers/a b", InvalidRequest),
    ],
)
def test_a_webhook_cannot_be_given_an_object_that_is_not_there(within: str, error: type[Exception]) -> None:
    """The refusal names the field; one that is there is taken, and can be taken away though it is gone meanwhile."""
    estate, _ = CASES["Update webhook"]
    name = "webhooks/pager"
    request = update_webhook_pb2.UpdateWebhookRequest(webhook=webhook_pb2.Webhook(name=name, within=within))
    refused = refusal(estate, request)
    assert (type(refused), field_of(refused)) == (error, "webhook.within")
    request.webhook.within = "serverPools/Finance"
    assert written(estate, request)[1].within == "serverPools/Finance"
    request.webhook.within = ""
    request.update_mask.paths.append("within")
    assert written(estate, request) == (["within"], webhook_pb2.Webhook(name=name))
