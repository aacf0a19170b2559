"""Rename Virtual Machine: one field, and names that can be shown."""

from __future__ import annotations

import pytest

from tests.unit.operations.estate import actions, done_by, field_of, finance, locks, refusal, titles
from virtyard.api.inventory.v1 import write_objects_pb2
from virtyard.api.operations.v1 import rename_virtual_machine_pb2
from virtyard.kernel.errors import EtagMismatch, InvalidRequest, NotFound

Request = rename_virtual_machine_pb2.RenameVirtualMachineRequest
WEB = "virtualMachines/web"


def test_only_the_display_name_is_written() -> None:
    """The resource name stays, as everything else does."""
    plan = finance().plan(Request(name=WEB, display_name="Wéb 1"))
    assert titles(plan) == ["Rename Virtual Machine"]
    assert actions(plan) == [("WriteObjects", "RevertWrites", "undoable")]
    (write,) = done_by(plan, write_objects_pb2.WriteObjects)
    assert list(write.writes[0].update.update_mask.paths) == ["display_name"]
    assert write.writes[0].update.object.virtual_machine.display_name == "Wéb 1"
    assert locks(plan) == {WEB: "X", "serverPools/Finance": "IX"}
    assert plan.result_object == WEB


@pytest.mark.parametrize("name", ["", " ", "x" * 129, "a\nb", "a\tb", "a\x7fb", "a\x85b", "a\u2028b"])
def test_name_that_cannot_be_shown_is_refused(name: str) -> None:
    """1 to 128 characters, not blank, no control characters or line breaks."""
    refused = refusal(finance(), Request(name=WEB, display_name=name))
    assert isinstance(refused, InvalidRequest)
    assert field_of(refused) == "display_name"


@pytest.mark.parametrize("name", ["x", "x" * 128, "Büro – 3", "機械"])
def test_name_of_any_language_is_taken(name: str) -> None:
    """Length counts characters, not bytes."""
    assert titles(finance().plan(Request(name=WEB, display_name=name)))


def test_machine_that_changed_is_refused() -> None:
    """A stale etag is refused with the present one; the present one is taken."""
    refused = refusal(finance(), Request(name=WEB, display_name="x", etag="old"))
    assert isinstance(refused, EtagMismatch)
    assert refused.metadata == {"field": "etag", "etag": f"etag-{WEB}"}
    assert titles(finance().plan(Request(name=WEB, display_name="x", etag=f"etag-{WEB}")))


def test_machine_that_does_not_exist_is_refused() -> None:
    """The refusal names the field and the object."""
    refused = refusal(finance(), Request(name="virtualMachines/none", display_name="x"))
    assert isinstance(refused, NotFound)
    assert (field_of(refused), refused.resource) == ("name", "virtualMachines/none")
