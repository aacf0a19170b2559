"""The tree and the tables as they look at 80 columns."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.protobuf import any_pb2
from google.rpc import status_pb2
from typing_extensions import override

from virtyard.api.inventory.v1 import server_pool_pb2
from virtyard.api.jobs.v1 import job_pb2, job_service_pb2, operation_pb2
from virtyard.api.participant.v1 import participant_service_pb2
from virtyard_client.render.left import in_words
from virtyard_client.render.line import plain
from virtyard_client.render.record import record
from virtyard_client.render.screen import Screen
from virtyard_client.render.table import objects, table
from virtyard_client.render.tree import ASCII, UNICODE, Signs, tree
from virtyard_client.schema.schema import Schema
from virtyard_client.story import Story

RUNNING, COMPLETED = job_pb2.JOB_STATE_RUNNING, job_pb2.JOB_STATE_COMPLETED
FAILED, PENDING = job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_PENDING


def _operation(**metadata: Any) -> operations_pb2.Operation:
    packed = any_pb2.Any()
    packed.Pack(
        operation_pb2.OperationMetadata(
            title="Create Server Pool", state=operation_pb2.OPERATION_STATE_ACTIVE, **metadata
        )
    )
    return operations_pb2.Operation(name="operations/12", metadata=packed)


def _story(*jobs: job_pb2.Job, **metadata: Any) -> Story:
    story = Story(_operation(**metadata))
    for job in jobs:
        story.apply(job_service_pb2.WatchOperationResponse(job=job))
    return story


def _job(place: int, title: str, state: int, **fields: Any) -> job_pb2.Job:
    return job_pb2.Job(name=f"jobs/12-{place}", title=title, state=state, **fields)  # type: ignore[arg-type] # enum


def _progress(percent: float, **fields: Any) -> participant_service_pb2.Progress:
    return participant_service_pb2.Progress(percent=percent, **fields)


def _full_story() -> Story:
    return _story(
        _job(1, "Create Server Pool", COMPLETED),
        _job(2, "Create Cluster Heartbeat Device", RUNNING, progress=_progress(12, stage="laying out slots")),
        _job(3, "Create Cluster", RUNNING, progress=_progress(33)),
        _job(4, "Join Cluster", COMPLETED, parent_job="jobs/12-3", object="servers/s1"),
        _job(
            5,
            "Join Cluster",
            RUNNING,
            parent_job="jobs/12-3",
            object="servers/s2",
            contact_lost=True,
            progress=_progress(50),
        ),
        _job(
            10,
            "Join Cluster",
            FAILED,
            parent_job="jobs/12-3",
            object="servers/s3",
            error=status_pb2.Status(code=9, message="the storage is not there"),
            residue=["/mnt/x/heartbeat"],
        ),
        _job(11, "Last Of All", PENDING),
        waiting_for="serverPools/Finance, held by operations/7 Delete Server Pool",
        progress=_progress(43),
    )


def _shown(story: Story, width: int = 80, signs: Signs = UNICODE) -> list[str]:
    return [plain(line) for line in tree(story, width, signs)]


def test_tree_shows_jobs_children_bars_and_waits() -> None:
    """The whole picture of a clustered pool on its way."""
    assert _shown(_full_story()) == [
        "Create Server Pool  operations/12  active  43 %",
        "   waits for serverPools/Finance, held by operations/7 Delete Server Pool",
        "├─ ✓ Create Server Pool               completed",
        "├─ ▸ Create Cluster Heartbeat Device  ━━╌╌╌╌╌╌╌╌╌╌╌╌  12 %  laying out slots",
        "├─ ▸ Create Cluster                   ━━━━━╌╌╌╌╌╌╌╌╌  33 %",
        "│  ├─ ✓ Join Cluster s1               completed",
        "│  ├─ ▸ Join Cluster s2               ━━━━━━━╌╌╌╌╌╌╌  50 %  host is silent",
        "│  └─ ✗ Join Cluster s3               failed",
        "│       the storage is not there",
        "│       left behind: /mnt/x/heartbeat",
        "└─ · Last Of All                      pending",
    ]


def test_tree_notes_what_was_put_off() -> None:
    """A job that is completed because its server could not be reached says so below it."""
    put_off = _job(2, "Present Repository to Server", COMPLETED, parent_job="jobs/12-1", deferred=True)
    shown = _shown(_story(_job(1, "Present Repository", RUNNING, progress=_progress(50)), put_off))
    assert shown[2].endswith("completed")
    assert shown[3].strip() == "put off, as its server could not be reached"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("signs", [UNICODE, ASCII])
def test_tree_fits_any_width(width: int, signs: Signs) -> None:
    """No line is wider than the terminal, and ASCII is ASCII."""
    lines = _shown(_full_story(), width, signs)
    assert max(len(line) for line in lines) <= width
    assert signs is UNICODE or all(line.isascii() for line in lines)


def test_moved_bytes_are_shown_with_their_unit() -> None:
    """Large totals are bytes, small ones are counts."""
    image = _progress(45, done_units=460 << 20, total_units=1 << 30)
    slots = _progress(50, done_units=8, total_units=16)
    lines = _shown(_story(_job(1, "Disk", RUNNING, progress=image), _job(2, "Slots", RUNNING, progress=slots)))
    assert lines[1].endswith(" 45 %  460 MiB of 1 GiB")
    assert lines[2].endswith(" 50 %  8 of 16")


def test_units_win_where_the_stage_leaves_them_no_room() -> None:
    """How much is written tells more than that it is being written."""
    progress = _progress(45, stage="writing the image", done_units=460 << 20, total_units=1 << 30)
    lines = _shown(_story(_job(1, "Add Virtual Disk to Virtual Machine", RUNNING, progress=progress)))
    assert lines[1].endswith(" 45 %  460 MiB of 1 GiB")
    assert _shown(_story(_job(1, "Disk", RUNNING, progress=progress)))[1].endswith(
        " 45 %  writing the image, 460 MiB of 1 GiB"
    )


def test_operation_that_is_being_aborted_says_so() -> None:
    """An abort is seen before anything is undone."""
    story = _story(_job(1, "Disk", job_pb2.JOB_STATE_ROLLING_BACK, progress=_progress(30)), abort_requested=True)
    assert "aborting" in _shown(story)[0]
    assert _shown(story)[1].endswith(" 30 %  rolling back")


def test_table_cuts_its_widest_column_first() -> None:
    """With a width all columns stay, the widest give way; without one nothing is cut."""
    rows = [("a", "x" * 100, "short"), ("bb", "y", "z" * 30)]
    cut = [plain(line) for line in table(("ONE", "TWO", "THREE"), rows, 60)]
    assert max(len(line) for line in cut) == 60
    assert cut[1].startswith("a    xxx")
    assert cut[1].endswith("…  short")
    assert len(plain(table(("ONE", "TWO", "THREE"), rows, None)[1])) == 3 + 2 + 100 + 2 + 5


def test_lists_in_cells_are_joined_and_short(schema: Schema) -> None:
    """Names in a cell are what can be typed again."""
    pool = server_pool_pb2.ServerPool(
        name="serverPools/Finance",
        clustered=True,
        servers=["servers/s1", "servers/s2"],
        state=server_pool_pb2.SERVER_POOL_STATE_ACTIVE,
    )
    message = schema.message("virtyard.api.inventory.v1.ServerPool")
    assert [plain(line) for line in objects(schema, message, [pool], 80)] == [
        "NAME     DISPLAY NAME  STATE   CLUSTERED  SERVERS  LOCKED BY",
        "Finance                active  yes        s1, s2",
    ]


def test_record_names_what_an_any_holds(schema: Schema) -> None:
    """A record keeps full names and leaves out what is not set."""
    pool = server_pool_pb2.ServerPool(name="serverPools/Finance", cluster="clusters/c", labels={"b": "2", "a": "1"})
    message = schema.message("virtyard.api.inventory.v1.ServerPool")
    assert [" ".join(plain(line).split()) for line in record(schema, message, pool)] == [
        "name: serverPools/Finance",
        "labels: a=1, b=2",
        "clustered: no",
        "cluster: clusters/c",
    ]


class _Terminal(io.StringIO):
    encoding = "utf-8"

    @override
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "coloured"), [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)]
)
def test_styles_become_colours_on_a_terminal_only_without_no_color(
    environment: dict[str, str], *, coloured: bool
) -> None:
    """NO_COLOR, set to anything, means no colours."""
    out = _Terminal()
    screen = Screen(out, io.StringIO(), environment, width=80)
    screen.write(tree(_full_story(), 80))
    assert ("\x1b[" in out.getvalue()) is coloured
    assert screen.terminal


def test_piped_output_has_neither_colours_nor_cuts() -> None:
    """What is no terminal gets plain text, and tables as wide as they are."""
    out = io.StringIO()
    screen = Screen(out, io.StringIO(), {"TERM": "xterm"}, width=80)
    screen.write(tree(_full_story(), 80))
    assert "\x1b" not in out.getvalue()
    assert screen.table_width is None


def test_terminal_without_unicode_gets_ascii() -> None:
    """Signs follow the encoding of the output."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert Screen(stream, io.StringIO(), {}, width=80).signs is ASCII


def test_the_head_says_how_long_it_takes_yet() -> None:
    """By the service's expected end; once that has passed nothing is said, as nothing is known."""
    now = datetime(2030, 1, 1, tzinfo=UTC)
    progress = _progress(61)
    progress.expected_end_time.FromDatetime(now + timedelta(seconds=420))
    story = _story(_job(1, "Create Server Pool", RUNNING), progress=progress)
    heads = [plain(tree(story, 90, now=now + timedelta(seconds=late))[0]) for late in (0, 421)]
    assert heads[0].endswith("active  61 %, about 7 minutes left")
    assert heads[1].endswith("active  61 %")


def test_a_transfer_says_its_rate() -> None:
    """Bytes with how many of them are done in a second; things that are counted have none."""
    disk = _progress(25, stage="writing", done_units=1 << 29, total_units=1 << 31, units_per_second=50 << 20)
    few = _progress(50, stage="asking", done_units=1, total_units=2, units_per_second=0.5)
    lines = tree(_story(_job(1, "Disk", RUNNING, progress=disk), _job(2, "Ask", RUNNING, progress=few)), 110)
    assert plain(lines[1]).endswith("writing, 512 MiB of 2 GiB, 50 MiB/s")
    assert plain(lines[2]).endswith("asking, 1 of 2")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 second"), (40, "40 seconds"), (56, "1 minute"), (420, "7 minutes"), (7_000, "2 hours")],
)
def test_a_span_is_told_as_people_say_it(seconds: float, words: str) -> None:
    """As the service says it in its explanations."""
    assert in_words(seconds) == words
