"""An example of its operation type; see `contract`."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from tests.examples.contract import Bad, Example
from virtyard.api.inventory.v1 import schedule_pb2
from virtyard.api.jobs.v1 import job_service_pb2
from virtyard.api.operations.v1 import create_schedule_pb2, refresh_server_pb2
from virtyard.kernel.plan import pack

Request = create_schedule_pb2.CreateScheduleRequest
REFRESH = refresh_server_pb2.RefreshServerRequest(name="servers/s1")


def request(schedule_id: str = "nightly", do: Message | None = REFRESH, **fields: Any) -> Request:
    """Return a request for a schedule that refreshes a server at New Year, unless other times are given."""
    wanted = schedule_pb2.Schedule(**fields)
    if "cron" not in fields and "interval_seconds" not in fields:
        wanted.cron = "0 0 1 1 *"
    if do is not None:
        wanted.request.CopyFrom(pack(do))
    return Request(schedule_id=schedule_id, schedule=wanted)


def bad(field: str, *arguments: Any, **fields: Any) -> Bad:
    """Return a request that is not allowed, with the field at fault."""
    return Bad(request=lambda site: request(*arguments, **fields), reason="INVALID_REQUEST", field=field)


EXAMPLE = Example(
    request=lambda site: request(time_zone="Europe/Vienna", jitter_seconds=60, labels={"of": "operations"}),
    titles=["Create Schedule"],
    prepare=lambda site: [request("old")],
    bad=(
        Bad(request=lambda site: request("old"), reason="ALREADY_EXISTS", field="schedule_id"),
        bad("schedule_id", "a b"),
        bad("schedule.cron", cron="0 25 * * *"),
        bad("schedule.cron", cron="0 0 31 2 *"),
        bad("schedule.cron", cron="0 0 0 * * *"),
        bad("schedule.cron", cron=""),
        bad("schedule.cron", cron="0 0 * * *", interval_seconds=60),
        bad("schedule.interval_seconds", interval_seconds=9),
        bad("schedule.time_zone", time_zone="Mars/Olympus"),
        bad("schedule.jitter_seconds", interval_seconds=60, jitter_seconds=60),
        bad("schedule.most_caught_up", most_caught_up=101),
        bad("schedule.request", "new", None),
        bad("schedule.request", "new", job_service_pb2.GetJobRequest(name="jobs/1-1")),
        bad("schedule.request.name", "new", refresh_server_pb2.RefreshServerRequest()),
        bad("schedule.request.name", "new", refresh_server_pb2.RefreshServerRequest(name="{event.object}")),
        bad("schedule.request.schedule.request", "new", request("inner")),
    ),
)
