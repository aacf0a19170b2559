"""Filters: what people type, and that whatever they type is answered or refused by field."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from virtyard.api.inventory.v1 import cluster_pb2, virtual_machine_pb2
from virtyard.api.jobs.v1 import job_pb2
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.filters import compile_filter, required_values
from virtyard.kernel.options import descriptor_of

MACHINE = virtual_machine_pb2.VirtualMachine(
    name="virtualMachines/web",
    display_name='The "Web" server',
    state=virtual_machine_pb2.VIRTUAL_MACHINE_STATE_RUNNING,
    server_pool="serverPools/Finance",
    memory_bytes=1024,
    labels={"env": "prod", "team": "red-blue"},
    boot=virtual_machine_pb2.BootSource(kernel_path="/boot/vmlinuz"),
    virtual_disks=["virtualDisks/a", "virtualDisks/b"],
    create_time=Timestamp(seconds=1_700_000_000),
)
CLUSTER = cluster_pb2.Cluster(
    name="clusters/c",
    members=[cluster_pb2.ClusterMember(server="servers/a", slot=1), cluster_pb2.ClusterMember(slot=2)],
)


def matches(text: str) -> bool:
    """Tell whether the machine passes a filter."""
    return compile_filter(text, descriptor_of(MACHINE))(MACHINE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "web",
        "Web",
        'name = "virtualMachines/web"',
        "name=virtualMachines/web",
        "name:web",
        r'display_name = "The \"Web\" server"',
        "state = RUNNING",
        "state = running",
        "state = VIRTUAL_MACHINE_STATE_RUNNING",
        "state != STOPPED",
        "memory_bytes = 1024",
        "memory_bytes > 1023.5",
        "memory_bytes >= 1024 AND memory_bytes <= 1024",
        "memory_bytes < 2000",
        "labels.env = prod",
        "labels.team:red",
        "labels:env",
        "labels.env:*",
        "labels != absent",
        "boot.kernel_path = /boot/vmlinuz",
        "virtual_disks = virtualDisks/b",
        "virtual_disks:b",
        "create_time > 2023-11-14T00:00:00Z",
        "create_time = 2023-11-14T23:13:20+01:00",
        "create_time < 2023-11-15",
        "server_pool:*",
        "NOT state = STOPPED",
        "-state = STOPPED",
        "NOT (state = STOPPED OR state = STARTING)",
        "state = STOPPED OR state = RUNNING",
        "state = RUNNING web",
        "state = RUNNING AND (web OR other)",
        "cpus = 0",
        'server = ""',
    ],
)
def test_filter_lets_the_machine_pass(text: str) -> None:
    """Names, states, numbers, labels, times, nested and repeated fields."""
    assert matches(text)


@pytest.mark.parametrize(
    "text",
    [
        "absent",
        "state = STOPPED",
        "NOT state = RUNNING",
        "-web",
        "state = RUNNING AND memory_bytes > 1024",
        "web absent",
        "labels.env = test",
        "labels:absent",
        "labels.absent:*",
        "labels.absent = prod",
        "virtual_disks = virtualDisks/c",
        "virtual_disks != virtualDisks/a",
        "server:*",
        "placement:*",
        "placement.process_id < 5",
        "update_time < 2100-01-01",
        "create_time = 2023-11-14T23:13:20-01:00",
    ],
)
def test_filter_keeps_the_machine_out(text: str) -> None:
    """What is not set compares with nothing, except that it is not equal."""
    assert not matches(text)


def test_or_binds_more_closely_than_and() -> None:
    """As AIP-160 has it, unlike most programming languages."""
    assert not matches("absent AND absent OR web")
    assert matches("(absent AND absent) OR web")


def test_comparison_looks_into_the_items_of_a_list() -> None:
    """Any member counts; for != every one must differ."""
    for text, expected in (
        ("members.server = servers/a", True),
        ("members.slot > 1", True),
        ("members.slot > 2", False),
        ("members.slot != 2", False),
        ("members:*", True),
    ):
        assert compile_filter(text, descriptor_of(CLUSTER))(CLUSTER) is expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stat = RUNNING", "allowed instead of 'stat' are"),
        ("boot.kernel = x", "kernel_path"),
        ("name.x = 1", "none, as it has no fields"),
        ("boot = x", "boot.kernel_path"),
        ("state = FLYING", "'FLYING' is not a value of state"),
        ("memory_bytes = much", "'much' is not a value"),
        ("create_time < yesterday", "'yesterday' is not a value"),
        ("state =", "ends too early"),
        ("state = )", "a value must follow"),
        ("(web", "parenthesis is missing"),
        ("web)", "unexpected ')'"),
        ("= 5", "unexpected '='"),
        ("AND web", "unexpected 'AND'"),
        ("web AND", "ends too early"),
        ("web OR OR web", "unexpected 'OR'"),
        ('name = "open', "cannot be read"),
        ("x" * 2001, "at most 2000"),
        ("(" * 51 + "web" + ")" * 51, "nested too deep"),
        ("NOT " * 60 + "web", "nested too deep"),
    ],
)
def test_filter_that_cannot_be_read_is_refused(text: str, words: str) -> None:
    """The refusal names the field filter and says what is wrong."""
    with pytest.raises(InvalidRequest) as caught:
        matches(text)
    assert caught.value.violations[0].field == "filter"
    assert words in caught.value.message


PIECES = st.sampled_from(
    [
        "(",
        ")",
        "=",
        "!=",
        "<",
        ">",
        ":",
        "AND",
        "OR",
        "NOT",
        "-",
        "*",
        '"',
        "\\",
        ".",
        "name",
        "state",
        "labels",
        "labels.env",
        "boot",
        "boot.kernel_path",
        "create_time",
        "memory_bytes",
        "RUNNING",
        "5",
        "-5",
        "1.5",
        "2024-01-01",
        "2024-01-01T00:00:00Z",
        "web",
        "members",
        "progress",
        "error.details",
        "steps.progress.percent",
        "resume_tokens",
        "placement.process_id",
        "activity.locked_by",
    ]
)


@given(st.lists(PIECES, max_size=12).map(" ".join) | st.text(max_size=40))
def test_any_text_is_a_filter_or_is_refused(text: str) -> None:
    """Nothing that is typed makes a list fail in another way, when it is read or when it is used."""
    for message in (MACHINE, CLUSTER, virtual_machine_pb2.VirtualMachine(), job_pb2.Job(title="x")):
        try:
            passes = compile_filter(text, descriptor_of(message))
        except InvalidRequest:
            continue
        assert passes(message) in (True, False)


@pytest.mark.parametrize(
    ("text", "required"),
    [
        ("", {}),
        ("state = RUNNING", {"state": 3}),
        ('state = RUNNING AND object = "servers/s1"', {"state": 3, "object": "servers/s1"}),
        ('state=RUNNING object="servers/s1" done = true', {"state": 3, "object": "servers/s1", "done": True}),
        ("state = RUNNING OR state = PENDING", {}),
        ("NOT state = RUNNING", {}),
        ("-state = RUNNING", {}),
        ("state != RUNNING", {}),
        ("(state = RUNNING)", {}),
        ('object : "servers/s1"', {}),
        ("done = true AND (state = RUNNING OR state = PENDING)", {"done": True}),
        ('object = "a" OR object = "b" AND state = RUNNING', {"state": 3}),
    ],
)
def test_what_a_filter_requires_of_every_message_is_found(text: str, required: dict[str, object]) -> None:
    """Only what holds for everything that passes: no alternative, nothing denied."""
    assert required_values(text, job_pb2.Job.DESCRIPTOR) == required
