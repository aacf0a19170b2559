"""One format for all watches: options that ask, frames that answer, under the same numbers in every service."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from virtyard import api
from virtyard.api.type.v1 import watch_pb2


def watches() -> Iterator[MethodDescriptor]:
    """Yield every rpc of the public API that watches one service; the gateway's Watch carries the frames of others."""
    for module in pkgutil.walk_packages(api.__path__, "virtyard.api."):
        if module.name.endswith("_pb2"):
            for service in importlib.import_module(module.name).DESCRIPTOR.services_by_name.values():
                yield from (method for method in service.methods if re.fullmatch(r"Watch[A-Z]\w+", method.name))


def test_there_is_one_format() -> None:
    """Proves that a program which knows the frames of one watch can follow any other: kind 1, token 2, batches."""
    names = [method.name for method in watches()]
    assert {"WatchJobs", "WatchOperation", "WatchJobSummary", "WatchObjects", "WatchEvents", "WatchLocks"} <= set(names)
    for method in watches():
        assert method.server_streaming
        assert not method.client_streaming
        asked, frame = method.input_type.fields_by_name, method.output_type.fields_by_name
        assert asked["options"].message_type is watch_pb2.WatchOptions.DESCRIPTOR, method.name
        assert (frame["kind"].number, frame["kind"].enum_type) == (1, watch_pb2.FrameKind.DESCRIPTOR), method.name
        assert (frame["resume_token"].number, frame["resume_token"].type) == (2, FieldDescriptor.TYPE_STRING)
        assert frame["further"].message_type is method.output_type, method.name
        assert frame["further"].is_repeated, method.name


def test_whatever_is_one_of_many_has_a_name_and_a_filter() -> None:
    """Proves that REMOVED can say of what, and that no watch over many things sends all of them to everybody."""
    for method in watches():
        asked, frame = method.input_type.fields_by_name, method.output_type.fields_by_name
        if method.name == "WatchJobSummary":
            continue  # the counters are one thing, which is always there
        assert (frame["name"].number, frame["name"].type) == (3, FieldDescriptor.TYPE_STRING), method.name
        assert "filter" in asked or "name" in asked, method.name
