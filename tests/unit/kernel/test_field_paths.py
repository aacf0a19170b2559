"""Paths of fields: what they lead to in a type, and which values fit where."""

from __future__ import annotations

import pytest

from virtyard.api.actions.v1 import claim_host_pb2, create_disk_file_pb2
from virtyard.api.inventory.v1 import virtual_machine_pb2, write_objects_pb2
from virtyard.api.jobs.v1 import job_pb2
from virtyard.kernel.errors import InternalError
from virtyard.kernel.field_paths import assignable, field_at, parse_path
from virtyard.kernel.options import descriptor_of

WRITES = descriptor_of(write_objects_pb2.WriteObjects)


def test_path_is_names_with_indexes() -> None:
    """Joined by dots."""
    assert parse_path("writes[10].create.server") == [("writes", 10), ("create", None), ("server", None)]


@pytest.mark.parametrize("path", ["", ".", "a.", "a..b", "a[x]", "a[-1]", "a[]", "A", "a b", "[0]", "a[0][1]"])
def test_other_texts_are_no_paths(path: str) -> None:
    """The refusal shows the part that cannot be read."""
    with pytest.raises(InternalError, match="not the path of a field"):
        parse_path(path)


def test_path_leads_to_a_field() -> None:
    """Through messages and items of lists."""
    assert field_at(WRITES, "writes[0].create.virtual_disk.allocated_bytes").name == "allocated_bytes"
    assert field_at(descriptor_of(claim_host_pb2.ClaimHostResult), "host.host_id").name == "host_id"


@pytest.mark.parametrize(
    "path",
    [
        "writes.create",
        "writes[0].create[0].server",
        "writes[0].create.ship",
        "writes[0].delete.x",
        "writes[0].create.server.labels",
        "writes[0].create.server.labels.a",
    ],
)
def test_path_that_leads_nowhere_is_refused(path: str) -> None:
    """Missing or needless indexes, unknown fields, scalars and maps."""
    with pytest.raises(InternalError):
        field_at(WRITES, path)


@pytest.mark.parametrize(
    ("source", "target", "fits"),
    [
        ("size_bytes", "size_bytes", True),
        ("size_bytes", "disk_uid", False),
        ("full", "size_bytes", False),
        ("disk_uid", "repository_uid", True),
    ],
)
def test_value_fits_where_its_type_is_the_same(source: str, target: str, fits: bool) -> None:
    """Texts, numbers and truth values are never turned into each other."""
    fields = descriptor_of(create_disk_file_pb2.CreateDiskFile).fields_by_name
    assert assignable(fields[source], fields[target]) is fits


def test_small_number_fits_where_a_large_one_does() -> None:
    """Not the other way round."""
    fields = descriptor_of(virtual_machine_pb2.VirtualMachine).fields_by_name
    assert assignable(fields["cpus"], fields["memory_bytes"])
    assert not assignable(fields["memory_bytes"], fields["cpus"])


def test_messages_and_enums_fit_their_own_type_only() -> None:
    """A state is not a message, and a time is not a progress."""
    fields = descriptor_of(job_pb2.Job).fields_by_name
    assert assignable(fields["create_time"], fields["end_time"])
    assert assignable(fields["state"], fields["state"])
    assert not assignable(fields["state"], fields["display_state"])
    assert not assignable(fields["create_time"], fields["progress"])
    assert not assignable(fields["state"], fields["create_time"])
    assert not assignable(fields["title"], fields["state"])
