"""The mapping of errors: every error has a code, and what others send is understood by its code."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from virtyard.kernel import errors
from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.status import code_of, errors_named, from_status, named, raise_from, to_rpc_error, to_status
from virtyard_client.errors import ClientError


def leaves(kind: type[VirtyardError]) -> list[type[VirtyardError]]:
    """Return the errors that are raised: the leaves of the tree."""
    below = kind.__subclasses__()
    return [leaf for one in below for leaf in leaves(one)] if below else [kind]


@pytest.mark.parametrize("kind", leaves(VirtyardError), ids=lambda kind: kind.reason)
def test_every_error_has_a_code_and_comes_back_as_itself(kind: type[VirtyardError]) -> None:
    """No error of the tree is UNKNOWN on the wire, and each is told from the others that share its code."""
    assert code_of(kind("x")) is not grpc.StatusCode.UNKNOWN
    assert type(from_status(to_status(kind("x")))) is kind


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_status_of_another_system_is_told_by_its_code(code: grpc.StatusCode) -> None:
    """Every code of gRPC without our details is some error of ours."""
    assert isinstance(from_status(status_pb2.Status(code=code.value[0], message="x")), VirtyardError)


def test_reason_of_another_domain_is_not_ours() -> None:
    """The same word in another domain's ErrorInfo means nothing here."""
    status = status_pb2.Status(code=grpc.StatusCode.NOT_FOUND.value[0], message="x")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="STALE_EPOCH", domain="googleapis.com"))
    assert type(from_status(status)) is errors.NotFound


def test_details_that_cannot_be_read_leave_the_code() -> None:
    """Broken details do not hide what gRPC said."""
    metadata = grpc.aio.Metadata(("grpc-status-details-bin", b"\xff\xff"))
    broken = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), metadata, details="down")
    found = named(broken)
    assert type(found) is errors.Unavailable
    assert found.message == "down"


def test_call_that_ended_while_it_was_sent_may_be_made_again() -> None:
    """What gRPC says in place of the server's status is no fault of ours: the outcome is unknown."""
    cut = grpc.aio.AioRpcError(
        grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata(), details="Internal error from Core"
    )
    assert type(named(cut)) is errors.Unavailable


def test_call_that_nobody_cancelled_may_be_made_again() -> None:
    """CANCELLED without details is what gRPC says of a call that it gave up; with ours a service said it."""
    nothing = grpc.aio.Metadata()
    given_up = grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED, nothing, nothing, details="CANCELLED")
    said = to_rpc_error(errors.Cancelled("a person stopped it"))
    assert type(named(given_up)) is errors.Unavailable
    assert ClientError.from_rpc(given_up).unreachable
    assert type(named(said)) is errors.Cancelled
    assert (ClientError.from_rpc(said).code, ClientError.from_rpc(said).unreachable) == ("CANCELLED", False)


def test_errors_are_raised_with_their_cause() -> None:
    """What is raised instead of gRPC's error still knows it."""
    broken = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
    with pytest.raises(errors.Unavailable) as raised:
        raise_from(broken)
    assert raised.value.__cause__ is broken
    with pytest.raises(ValueError, match="mine"), errors_named():
        raise ValueError("mine")
