"""Every rpc of every service, asked by every role: exactly the declared ones are let in."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from google.longrunning import operations_proto_pb2
from google.protobuf.descriptor import ServiceDescriptor

import virtyard.api
import virtyard.internal
from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.kernel import errors
from virtyard.kernel.permissions import Principal, permit, role_name
from virtyard.runtime.local import LocalChannel
from virtyard.runtime.rpc import Service, role_of
from virtyard.runtime.status import errors_named


def services() -> Iterator[ServiceDescriptor]:
    """Yield every service of the public and the internal protos, and google's Operations."""
    for package in (virtyard.api, virtyard.internal):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith("_service_pb2"):
                yield from importlib.import_module(module.name).DESCRIPTOR.services_by_name.values()
    yield operations_proto_pb2.DESCRIPTOR.services_by_name["Operations"]


ALL = list(services())
CALLERS = [
    Principal.of("user/nobody"),
    Principal.of("user/v", frozenset({Role.ROLE_VIEWER})),
    Principal.of("user/o", frozenset({Role.ROLE_OPERATOR})),
    Principal.of("user/a", frozenset({Role.ROLE_ADMINISTRATOR})),
    Principal.of("service/jobs"),
    Principal.of("agent/s1"),
]


def test_there_are_services_to_walk() -> None:
    """The walk finds the services; an empty one would prove nothing."""
    assert {"JobService", "LockService", "InventoryService", "ParticipantService", "Operations"} <= {
        service.name for service in ALL
    }


@pytest.mark.parametrize("service", ALL, ids=lambda service: service.full_name)
def test_every_rpc_declares_a_role(service: ServiceDescriptor) -> None:
    """No rpc is without a role, which would refuse it to everybody."""
    assert [method.name for method in service.methods if not role_of(method)] == []


async def outcome(channel: LocalChannel, path: str, streaming: tuple[bool, bool]) -> type[Exception]:
    """Call a method with an empty request and return what it ends with."""
    try:
        with errors_named():
            if streaming == (False, False):
                await channel.unary_unary(path, bytes, bytes)(b"", timeout=5)
            elif streaming == (False, True):
                await channel.unary_stream(path, bytes, bytes)(b"", timeout=5).read()
            elif streaming == (True, False):
                await channel.stream_unary(path, bytes, bytes)(iter([b""]), timeout=5)
            else:
                await channel.stream_stream(path, bytes, bytes)(iter([b""]), timeout=5).read()
    except errors.VirtyardError as error:
        return type(error)
    raise AssertionError(f"{path} answered without an implementation")


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.identity)
@pytest.mark.parametrize("service", ALL, ids=lambda service: service.full_name)
async def test_rpc_lets_in_who_covers_its_role(service: ServiceDescriptor, caller: Principal) -> None:
    """A caller reaches the (missing) implementation where its role covers the method's, and is refused elsewhere."""
    async with LocalChannel([Service(service, object())], caller) as channel:
        for method in service.methods:
            path = f"/{service.full_name}/{method.name}"
            expected: type[Exception] = errors.Unsupported
            try:
                permit(caller, role_of(method), path)
            except errors.PermissionDenied:
                expected = errors.PermissionDenied
            streaming = (bool(method.client_streaming), bool(method.server_streaming))
            assert await outcome(channel, path, streaming) is expected, f"{path} {role_name(role_of(method))}"


def test_changes_are_never_open_to_viewers() -> None:
    """A viewer's rpcs read: their names begin with Get, List, Watch, Wait or another word that changes nothing."""
    reading = ("Get", "List", "Watch", "Wait", "Preview", "Explain", "Export", "Describe", "Count", "View")
    # A viewer, too, may open the console, let programs read, and take that back; what is made speaks with its maker's
    # roles.
    of_ones_own = {"CreateLink", "CreateApiToken", "RevokeGrant"}
    open_to_viewers = [
        method.name for service in ALL for method in service.methods if role_of(method) == Role.ROLE_VIEWER
    ]
    assert {name for name in open_to_viewers if not name.startswith(reading)} == of_ones_own
