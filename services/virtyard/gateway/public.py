"""The public methods: every rpc that a person may call, found in the descriptors, with the service that owns it.

A service is public if its package is part of the public API, or if it belongs to an operation type that another package
adds; of its rpcs those are that need a role of people. Agents are no part of it, nor are rpcs for other services.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import virtyard.api
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.operations import catalogue
from virtyard.runtime.rpc import role_of

__all__ = ["PublicMethod", "public_methods", "public_services"]

_API = "virtyard.api."
_OWNERS = ("inventory", "locks", "gateway")
"""Services that own the packages of their name; every other public one belongs to the scheduler."""
_NOT_PUBLIC = ("agent", "participant")
"""Packages that agents and participants serve, each for itself."""
_PEOPLE = frozenset({Role.ROLE_VIEWER, Role.ROLE_OPERATOR, Role.ROLE_ADMINISTRATOR})


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicMethod:
    """One rpc as the front door forwards it."""

    path: str
    """As on the wire: /package.Service/Method."""
    owner: str
    """The service that is asked: inventory, jobs, locks or gateway."""
    client_streaming: bool
    """Whether the caller sends a stream."""
    server_streaming: bool
    """Whether the answer is a stream."""
    request: type[Message]
    """What the caller sends."""
    response: type[Message]
    """What comes back."""

    @property
    def service(self) -> str:
        """Return the full name of its service."""
        return self.path[1:].partition("/")[0]

    @property
    def name(self) -> str:
        """Return its name within the service."""
        return self.path.rpartition("/")[2]


def public_services() -> tuple[ServiceDescriptor, ...]:
    """Return every service that has a public method, google's Operations and those of added operation types too."""
    found = {service.full_name: service for service in _all_services()}
    return tuple(service for service in found.values() if any(map(_is_public, service.methods)))


def public_methods(services: Iterable[ServiceDescriptor]) -> Mapping[str, PublicMethod]:
    """Return the public methods of services, by path."""
    methods = [_public(method) for service in services for method in service.methods if _is_public(method)]
    return {method.path: method for method in methods}


def _all_services() -> Iterator[ServiceDescriptor]:
    # All of them, so that JSON can name every message that an Any may hold.
    for module in pkgutil.walk_packages(virtyard.api.__path__, _API):
        loaded = importlib.import_module(module.name)
        if module.name.endswith("_service_pb2") and module.name.removeprefix(_API).partition(".")[0] not in _NOT_PUBLIC:
            yield from loaded.DESCRIPTOR.services_by_name.values()
    yield operations_pb2.DESCRIPTOR.services_by_name["Operations"]
    for method in catalogue.load():
        yield descriptor_pool.Default().FindServiceByName(method.rpartition(".")[0])


def _is_public(method: MethodDescriptor) -> bool:
    return role_of(method) in _PEOPLE


def _public(method: MethodDescriptor) -> PublicMethod:
    service = method.containing_service.full_name
    return PublicMethod(
        path=f"/{service}/{method.name}",
        owner=next((owner for owner in _OWNERS if service.startswith(f"{_API}{owner}.")), "jobs"),
        client_streaming=bool(method.client_streaming),
        server_streaming=bool(method.server_streaming),
        request=GetMessageClass(method.input_type),
        response=GetMessageClass(method.output_type),
    )
