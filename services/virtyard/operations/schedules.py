"""What every operation on schedules checks: when one is due, and the request that it submits."""

from __future__ import annotations

from virtyard.api.inventory.v1 import schedule_pb2
from virtyard.kernel.any import type_of
from virtyard.kernel.errors import InvalidRequest
from virtyard.kernel.recurrence import SHORTEST_INTERVAL, cron_problem, zone_problem
from virtyard.kernel.templates import check_request, fill

MOST_CAUGHT_UP = 10
"""How many runs a schedule makes up for if it does not say."""
LIMIT_CAUGHT_UP = 100
_LONGEST_JITTER = 3600


def check_schedule(schedule: schedule_pb2.Schedule, field: str) -> None:
    """Refuse a schedule that could not do what it says, and fill in the policies that it does not name.

    Raises:
        InvalidRequest: naming the field, also inside the request that is to be submitted.
    """
    schedule.state = schedule.state or schedule_pb2.SCHEDULE_STATE_ENABLED
    schedule.overlap = schedule.overlap or schedule_pb2.OVERLAP_POLICY_SKIP
    schedule.catch_up = schedule.catch_up or schedule_pb2.CATCH_UP_POLICY_LAST
    schedule.most_caught_up = schedule.most_caught_up or MOST_CAUGHT_UP
    schedule.time_zone = schedule.time_zone or "UTC"
    if problem := zone_problem(schedule.time_zone):
        raise InvalidRequest.of(f"{field}.time_zone", problem)
    _check_recurrence(schedule, field)
    if not 0 < schedule.most_caught_up <= LIMIT_CAUGHT_UP:
        text = f"{schedule.most_caught_up} is not allowed; it must be 1 to {LIMIT_CAUGHT_UP}, or 0 for {MOST_CAUGHT_UP}"
        raise InvalidRequest.of(f"{field}.most_caught_up", text)
    if not type_of(schedule.request):
        raise InvalidRequest.of(f"{field}.request", "is required: the request of an operation")
    check_request(fill(schedule.request, {}, f"{field}.request"), f"{field}.request")


def _check_recurrence(schedule: schedule_pb2.Schedule, field: str) -> None:
    if bool(schedule.cron) == bool(schedule.interval_seconds):
        raise InvalidRequest.of(f"{field}.cron", "exactly one of cron and interval_seconds is required")
    if schedule.cron and (problem := cron_problem(schedule.cron)):
        raise InvalidRequest.of(f"{field}.cron", problem)
    if schedule.interval_seconds and schedule.interval_seconds < SHORTEST_INTERVAL:
        text = f"{schedule.interval_seconds} is not allowed; it must be {SHORTEST_INTERVAL} seconds or more"
        raise InvalidRequest.of(f"{field}.interval_seconds", text)
    longest = min(_LONGEST_JITTER, schedule.interval_seconds - 1 if schedule.interval_seconds else _LONGEST_JITTER)
    if not 0 <= schedule.jitter_seconds <= longest:
        text = f"{schedule.jitter_seconds} is not allowed; it must be 0 to {longest} seconds"
        raise InvalidRequest.of(f"{field}.jitter_seconds", text)
