"""A participant that answers and takes no effects is asked more and more rarely, and what it says is kept."""

from __future__ import annotations

import grpc

from virtyard.jobs.refusing import Refusing
from virtyard.kernel.errors import Unavailable
from virtyard.runtime.status import to_rpc_error


def test_a_refusal_is_kept_and_asked_about_more_and_more_rarely() -> None:
    """The pause doubles to a bound that a person does not wait long for; who takes effects again is as if new."""
    refusing, pauses = Refusing(), []
    for _ in range(8):
        refusing.note(to_rpc_error(Unavailable("the database cannot be written")))
        pauses.append(refusing.pause)
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]
    assert refusing.why == "the database cannot be written"
    refusing.over()
    assert (refusing.why, refusing.pause) == ("", 0.0)


def test_a_broken_connection_is_no_answer() -> None:
    """That is silence, which is shown as such, and tried again at the pace of silence."""
    refusing = Refusing()
    cut = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), details="cut")
    refusing.note(cut)
    assert (refusing.why, refusing.pause) == ("", 0.0)
