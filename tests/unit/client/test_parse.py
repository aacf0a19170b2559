"""The parser: what a command line says, and what it must not say."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from virtyard.api.inventory.v1 import virtual_disk_pb2
from virtyard.api.operations.v1 import create_virtual_machine_pb2, refresh_server_pb2
from virtyard.api.type.v1 import submission_pb2
from virtyard_client.command.flags import Flag, flags_of
from virtyard_client.command.inner import read_request
from virtyard_client.command.options import options_of
from virtyard_client.command.parse import Arguments, Parser
from virtyard_client.command.request import build, flag_of_field
from virtyard_client.command.usage import UsageError
from virtyard_client.command.values import Reader
from virtyard_client.command.verbs import Verbs
from virtyard_client.schema.schema import Schema

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class _Verb:
    """One verb, ready to parse words."""

    def __init__(self, schema: Schema, noun: str, verb: str) -> None:
        method = Verbs(schema.methods()).find(noun, verb)
        assert method is not None
        self.schema, self.request = schema, method.request
        self.flags: tuple[Flag, ...] = flags_of(schema, method.request)
        reader = Reader(schema, lambda: NOW, partial(read_request, schema))
        self._parser = Parser(self.flags, options_of(method), reader)

    def parse(self, words: str) -> Arguments:
        return self._parser.parse(words.split())

    def message(self, words: str) -> Any:
        return self.build(words.split())

    def build(self, words: list[str]) -> Any:
        return build(self.schema, self.request, self.flags, self._parser.parse(words).values)


@pytest.fixture
def create(schema: Schema) -> _Verb:
    """`virtyard vm create`."""
    return _Verb(schema, "vm", "create")


def test_request_is_built_from_the_words(create: _Verb) -> None:
    """Units, short names, repeated messages, maps, enums and nested messages end in the right fields."""
    request = create.message(
        "web1 --memory 4G --cpus=2 --server-pool Finance --kernel /k --label a=b --label c=d=e "
        "--disk repository=shared,size=1G,allocation=full --disk id=second,repository=repositories/r,size=512MiB "
        "--vnic network=user --reason because --priority -5 --deadline +2h --on-failure stop --preview"
    )
    expected: dict[str, Any] = {
        "virtual_machine_id": "web1",
        "virtual_machine": {
            "server_pool": "serverPools/Finance",
            "memory_bytes": 4 << 30,
            "cpus": 2,
            "boot": {"kernel_path": "/k"},
            "labels": {"a": "b", "c": "d=e"},
        },
        "disks": [
            {
                "repository": "repositories/shared",
                "size_bytes": 1 << 30,
                "allocation": virtual_disk_pb2.DISK_ALLOCATION_FULL,
            },
            {"virtual_disk_id": "second", "repository": "repositories/r", "size_bytes": 512 << 20},
        ],
        "vnics": [{"network": 1}],
        "validate_only": True,
        "options": {
            "reason": "because",
            "priority": -5,
            "deadline": {"seconds": int(NOW.timestamp()) + 7200},
            "on_failure": submission_pb2.ON_FAILURE_STOP,
        },
    }
    assert request == create_virtual_machine_pb2.CreateVirtualMachineRequest(**expected)


def test_required_message_is_present_when_nothing_of_it_is_given(create: _Verb) -> None:
    """The server sees the resource, empty as it is, and can judge it."""
    assert create.message("web1").HasField("virtual_machine")


def test_repeated_words_take_commas_too(schema: Schema) -> None:
    """A repeated name is given by repeating the flag, or by commas."""
    verb = _Verb(schema, "server-pool", "create")
    request = verb.message("Finance --server s1,servers/s2 --server s3 --clustered")
    assert list(request.servers) == ["servers/s1", "servers/s2", "servers/s3"]
    assert request.server_pool.clustered
    assert not verb.message("Finance --server s1 --no-clustered").server_pool.clustered


def test_quoted_pair_may_hold_a_comma(create: _Verb) -> None:
    """A pair in double quotes keeps its comma."""
    request = create.message('web1 --disk "id=a,b",repository=r,size=1M')
    assert request.disks[0].virtual_disk_id == "a,b"


def test_words_behind_two_hyphens_are_no_flags(schema: Schema) -> None:
    """`--` ends the flags, so that a name may begin with hyphens."""
    request = _Verb(schema, "vm", "rename").message("web1 -- --odd")
    assert request.display_name == "--odd"


def test_options_of_the_command_line_are_no_fields(create: _Verb) -> None:
    """--wait, --json and --timeout stay with the command line."""
    arguments = create.parse("web1 --no-wait --json --timeout 5m")
    assert arguments.options == {"wait": False, "json": True, "timeout": "5m"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "VIRTUAL-MACHINE-ID is missing: The last part of the machine's name"),
        ("web1 extra", "'extra' is one word too many"),
        ("web1 --memory 4X", "--memory takes a size such as 512M, 4G, 1.5T or a number of bytes, not '4X'"),
        ("web1 --memory -4G", "--memory takes a size such as"),
        ("web1 --memory 16E", "--memory takes a number from"),
        ("web1 --memory", "--memory needs a value: SIZE"),
        ("web1 --memory 1G --memory 2G", "--memory is given twice"),
        ("web1 --memry 4G", "--memry is not known; did you mean --memory?"),
        ("web1 -m 4G", "-m is not known; flags begin with two hyphens"),
        ("web1 --cpus many", "--cpus takes a whole number, not 'many'"),
        ("web1 --cpus 3000000000", "--cpus takes a number from -2147483648 to 2147483647"),
        ("web1 --on-failure x", "--on-failure takes roll-back or stop or continue, not 'x'"),
        ("web1 --label nothing", "--label takes KEY=VALUE, not 'nothing'"),
        ("web1 --server-pool servers/a", "--server-pool takes serverPools/NAME or NAME, not 'servers/a'"),
        ("web1 --deadline soon", "--deadline takes a time such as"),
        (
            "web1 --disk size=1G",
            "--disk takes KEY=VALUE,... with repository (keys: id, repository, size, allocation, image)",
        ),
        ("web1 --disk colour=red", "with the keys id, repository, size, allocation, image, not 'colour'"),
        ("web1 --disk repository=r,size=big", "--disk takes for size, a size such as"),
        ("web1 --disk repository=r,size=1G,size=2G", "--disk takes size only once"),
        ("web1 --disk repository", "--disk takes repository=VALUE"),
        ("web1 --wait=yes", "--wait takes no value"),
        ("web1 --no-json", "--no-json is not known"),
        ("web1 --no-memory", "--no-memory is not known"),
        ("web1 --preview=maybe", "--preview takes yes or no, not 'maybe'"),
    ],
)
def test_bad_words_are_named_with_what_is_allowed(create: _Verb, words: str, said: str) -> None:
    """Every refusal names the word or flag and says what would do."""
    with pytest.raises(UsageError) as caught:
        create.parse(words)
    assert said in str(caught.value)


def test_missing_flags_are_named_together(schema: Schema) -> None:
    """More than one missing thing is told at once."""
    with pytest.raises(UsageError, match="SERVER-POOL-ID, --server are missing"):
        _Verb(schema, "server-pool", "create").parse("")


def test_help_needs_nothing_else(create: _Verb) -> None:
    """--help is understood where required words are missing."""
    assert create.parse("--help").given("help")
    assert create.parse("-h").given("help")


@pytest.mark.parametrize(
    ("path", "flag"),
    [
        ("virtual_machine.memory_bytes", "--memory"),
        ("virtual_machine.boot.kernel_path", "--kernel"),
        ("disks[1].size_bytes", "--disk number 2 size"),
        ("disks[0]", "--disk number 1"),
        ("virtual_machine_id", "VIRTUAL-MACHINE-ID"),
        ("something.else", ""),
    ],
)
def test_field_of_a_violation_is_shown_as_its_flag(create: _Verb, path: str, flag: str) -> None:
    """What the server calls by its path, the person knows by its flag."""
    assert flag_of_field(create.flags, path) == flag


def test_request_inside_of_a_request_is_given_as_the_words_of_its_command(schema: Schema) -> None:
    """It becomes that command's request; what is filled in later is left as it is; other commands are refused."""
    create = _Verb(schema, "trigger", "create")
    words = ["look", "--event-filter", "type = SERVER_ONLINE", "--request"]
    message = create.build([*words, "server refresh {event.object} --reason 'it is back'"])
    assert message.trigger.event_filter == "type = SERVER_ONLINE"
    inner = refresh_server_pb2.RefreshServerRequest()
    assert message.trigger.request.Unpack(inner)
    assert (inner.name, inner.options.reason) == ("{event.object}", "it is back")
    for wrong in ("server refresh", "server list", "server", "server refresh s1 --no-such 1", "server refresh 's1"):
        with pytest.raises(UsageError, match="--request takes the words of a command"):
            create.build([*words, wrong])
