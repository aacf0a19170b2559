"""The descriptor set over the front door: Virtyard's own files with comments, and those of added operation types."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.integration.gateway.conftest import House
from virtyard.gateway import descriptor
from virtyard.operations import catalogue

EXTENSION = Path(__file__).resolve().parents[2] / "extension"


async def test_the_descriptor_set_is_read_with_its_comments_and_asked_again_by_its_etag(house: House) -> None:
    """It is what the release ships, and is not sent again to whoever has it."""
    answer = await house.stranger.send("GET", descriptor.PATH)
    assert answer.status == 200
    files = {file.name: file for file in FileDescriptorSet.FromString(answer.body).file}
    pool = files["virtyard/api/operations/v1/create_server_pool.proto"]
    assert any("a heartbeat device" in place.leading_comments for place in pool.source_code_info.location)
    assert not any(name.startswith("google/") for name in files)
    again = await house.stranger.send("GET", descriptor.PATH, if_none_match=answer.headers["etag"])
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("described", [True, False])
def test_operation_types_of_other_packages_are_in_it(monkeypatch: pytest.MonkeyPatch, described: bool) -> None:
    """With their comments where they bring them, and without google's files that they bring along."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(EXTENSION)])
    added = {name: found for name, found in catalogue.load().items() if name.startswith("example.")}
    assert added, "the extension's entry point is not found"
    if not described:
        from dataclasses import replace

        added = {name: replace(found, descriptor_set=b"") for name, found in added.items()}
    files = {file.name: file for file in FileDescriptorSet.FromString(descriptor.descriptor_set(added)).file}
    noop = files["example/noop/v1/noop_service.proto"]
    assert noop.service[0].method[0].name == "NoOp"
    assert bool(noop.source_code_info.location) == described
    assert not any(name.startswith("google/") for name in files)
