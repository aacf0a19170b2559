"""The explanation of a wait as a person reads it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from virtyard.api.jobs.v1 import job_pb2
from virtyard.api.jobs.v1 import wait_explanation_pb2 as pb
from virtyard.api.type.v1 import lock_pb2
from virtyard_client.render.explanation import explanation
from virtyard_client.render.line import plain

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
X, S = lock_pb2.LOCK_MODE_X, lock_pb2.LOCK_MODE_S
MACHINE = "virtualMachines/web"


def party(number: int, title: str, state: int, seconds_ago: int, left: int = 0, **rest: object) -> pb.WaitParty:
    """Return an operation that somebody waits for, or that waits."""
    made = pb.WaitParty(
        owner=f"operations/{number}",
        job=f"jobs/{number}-1",
        title=title,
        object=MACHINE,
        state=state,  # type: ignore[arg-type]  # a number of the enum
        **rest,  # type: ignore[arg-type]  # fields of the message
    )
    made.since_time.FromDatetime(NOW - timedelta(seconds=seconds_ago))
    if left:
        made.expected_end_time.FromDatetime(NOW + timedelta(seconds=left))
    return made


def told() -> pb.WaitExplanation:
    """Return the explanation of a chain of three and a person's lock."""
    person = pb.WaitParty(owner="locks/1f0a", title="backup", reason="backup", principal="user/ann", object=MACHINE)
    person.since_time.FromDatetime(NOW - timedelta(hours=1))
    return pb.WaitExplanation(
        job=party(13, "Rename Virtual Machine", job_pb2.JOB_STATE_WAITING_FOR_LOCKS, 120, principal="user/bob"),
        cause=pb.WAIT_CAUSE_LOCKS,
        summary=f"it waits for {MACHINE}, which operations/12 has, and for 1 more",
        queue_place=2,
        parties=[
            party(
                12,
                "Create Virtual Disk",
                job_pb2.JOB_STATE_RUNNING,
                180,
                420,
                percent=61,
                principal="user/eve",
                reason="the new array",
                silent_servers=["servers/s3"],
            ),
            person,
        ],
        edges=[
            pb.WaitEdge(
                waiter="operations/13",
                blocker="operations/12",
                kind=pb.WAIT_EDGE_KIND_HOLDER,
                object=MACHINE,
                wanted_mode=X,
                mode=S,
            ),
            pb.WaitEdge(waiter="operations/12", blocker="servers/s3", kind=pb.WAIT_EDGE_KIND_HOST, object="servers/s3"),
        ],
        remedies=[
            pb.WaitRemedy(text="wait: jobs/12-1 (Create Virtual Disk) is 61 % done, about 7 minutes left"),
            pb.WaitRemedy(
                text="see to servers/s3, silent for 2 minutes: its host, its network, its agent; all goes on then",
                command="virtyard server describe s3",
            ),
        ],
        truncated=True,
    )


def test_a_wait_is_told_as_a_person_wants_it() -> None:
    """Why, then who is in the way with what and since when, then what can be done, each with its command."""
    assert [plain(each) for each in explanation(told(), 80, NOW)] == [
        "jobs/13-1: Rename Virtual Machine on virtualMachines/web: waiting for locks",
        "  asked for by user/bob, 0 % done",
        "",
        "Why: it waits for virtualMachines/web, which operations/12 has, and for 1 more",
        "(place 2 in the queue).",
        "",
        "In the way:",
        "  - jobs/12-1: Create Virtual Disk on virtualMachines/web: running, servers/s3",
        "    silent, 61 % done, about 7 minutes left",
        '    asked for by user/eve ("the new array"), since 3 m',
        "    has virtualMachines/web in mode S; operations/13 wants X",
        "    waits for servers/s3 itself",
        "  - locks/1f0a: backup",
        "    asked for by user/ann, since 1 h",
        "  There are more; these are the nearest.",
        "",
        "What can be done:",
        "  - wait: jobs/12-1 (Create Virtual Disk) is 61 % done, about 7 minutes left",
        "  - see to servers/s3, silent for 2 minutes: its host, its network, its agent;",
        "    all goes on then",
        "      virtyard server describe s3",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_an_explanation_fits_the_terminal(width: int) -> None:
    """Only a first line and a command, which must not be broken, may be longer."""
    lines = [plain(each) for each in explanation(told(), width, NOW)]
    assert all(len(each) <= width for each in lines[1:] if not each.lstrip().startswith("virtyard "))
