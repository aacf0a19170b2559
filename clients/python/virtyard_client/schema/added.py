"""Operation types that other packages add by the entry point group `virtyard.operations`, as the client sees them.

An entry point names an object with `method` (the full name of an rpc) or `service` (the full name of a service, or a
module or class with a `DESCRIPTOR`), and perhaps `descriptor_set` (a serialised `FileDescriptorSet` with comments).
Without the latter the files come from the default descriptor pool, where importing the object's own protos has put
them, and help has no comments.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

GROUP = "virtyard.operations"


class AddedOperationError(Exception):
    """A package adds an operation that cannot be read; the message names the entry point and what it lacks."""


def added_files() -> Iterator[FileDescriptorProto]:
    """Yield the proto files of every added operation, dependencies included, google's and Virtyard's own left out.

    Raises:
        AddedOperationError: an entry point cannot be loaded or names no rpc.
    """
    from importlib import metadata

    for entry_point in metadata.entry_points(group=GROUP):
        try:
            added = entry_point.load()
            yield from _files_of(added)
        except Exception as error:
            raise AddedOperationError(f"entry point {entry_point.name} of {GROUP} cannot be used: {error}") from error


def _files_of(added: Any) -> Iterator[FileDescriptorProto]:
    described = getattr(added, "descriptor_set", b"")
    if described:
        yield from FileDescriptorSet.FromString(described).file
        return
    service = _service_name(added)
    from google.protobuf import descriptor_pool

    yield from _closure(descriptor_pool.Default().FindServiceByName(service).file)


def _service_name(added: Any) -> str:
    method = getattr(added, "method", "")
    if method:
        return str(method).replace("/", ".").strip(".").rpartition(".")[0]
    service = getattr(added, "service", "")
    descriptor = getattr(service, "DESCRIPTOR", None)
    if descriptor is not None:
        services = getattr(descriptor, "services_by_name", None)
        return next(iter(services.values())).full_name if services else str(descriptor.full_name)
    if not service:
        raise AddedOperationError("it has neither `method` nor `service`")
    return str(service)


def _closure(file: Any) -> Iterator[FileDescriptorProto]:
    """The file with what it imports, imports first; each file may come more than once."""
    for dependency in file.dependencies:
        if not dependency.name.startswith(("google/", "virtyard/")):
            yield from _closure(dependency)
    described = FileDescriptorProto()
    file.CopyToProto(described)
    yield described
