"""Certificates near their end: what processes find in their files, told as events until a renewed one is found.

Each certificate is told of once for each step on the way to its end; the event of a later step takes the place of the
one before. Nothing is kept besides: the log says what was told.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from virtyard.internal.inventory.v1 import certificate_pb2
from virtyard.inventory.event_changes import open_events
from virtyard.inventory.events import raise_event
from virtyard.inventory.model import FeedWriter
from virtyard.kernel import event_types
from virtyard.kernel.errors import InvalidRequest

__all__ = ["WARNING_DAYS", "end_time", "subject_of", "take_certificate"]

WARNING_DAYS = 30
"""How many days before its end a certificate is first told of."""
_ENDING = event_types.CERTIFICATE_ENDING
_RENEWED = event_types.CERTIFICATE_RENEWED
_STEPS = (1, 7, WARNING_DAYS)


def subject_of(identity: str) -> str:
    """Return what an event about a certificate is about: servers/s1 of agent/s1, services/jobs of service/jobs."""
    kind, _, name = identity.partition("/")
    return f"{'servers' if kind == 'agent' else 'services'}/{name}"


def end_time(request: certificate_pb2.ReportCertificateRequest) -> datetime:
    """Return when a reported certificate ends.

    Raises:
        InvalidRequest: that is not said.
    """
    if not request.HasField("end_time"):
        raise InvalidRequest.of("end_time", "is required")
    return request.end_time.ToDatetime(UTC)


def take_certificate(transaction: FeedWriter, identity: str, end: datetime, now: datetime) -> None:
    """Tell of a certificate whose end is near, or that one which was near its end has been renewed.

    Args:
        transaction: the transaction.
        identity: whose it is, as service/jobs.
        end: when it stops being good.
        now: the present time.
    """
    subject = subject_of(identity)
    left = end - now
    step = next((days for days in _STEPS if left <= timedelta(days=days)), None)
    if step is None:
        told = [event for event in open_events(transaction, subject) if event.type == _ENDING.name]
        if told:
            event = event_types.new_event(
                _RENEWED, subject, f"the certificate of {identity} is good until {end:%F} now"
            )
            raise_event(transaction, f"{subject}/certificate/renewed/{told[-1].name}", event, now)
        return
    days = max(left // timedelta(days=1), 0)
    text = f"the certificate of {identity} ends in {days} days, at {end:%F %H:%M} UTC"
    if left <= timedelta():
        text = f"the certificate of {identity} has ended, at {end:%F %H:%M} UTC; nobody accepts it any more"
        step = 0
    key = f"{subject}/certificate/{end:%Y%m%d%H%M%S}/{step}"
    raise_event(transaction, key, event_types.new_event(_ENDING, subject, text), now)
