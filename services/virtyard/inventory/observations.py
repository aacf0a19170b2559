"""What agents report of their servers, stored apart from the configuration that jobs write (P27)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from virtyard.api.inventory.v1 import event_pb2, server_pb2
from virtyard.inventory.deaths import return_from_death
from virtyard.inventory.disconnections import is_disconnected, reconnect
from virtyard.inventory.events import raise_event
from virtyard.inventory.heartbeats import follow_heartbeats
from virtyard.inventory.model import FeedWriter, Reader
from virtyard.inventory.objects import read_row
from virtyard.inventory.publishing import publish
from virtyard.inventory.troubles import follow_links, follow_storage, forget_server
from virtyard.kernel import event_types

__all__ = [
    "Observation",
    "forget_observation",
    "has_other_ledger",
    "is_older",
    "missed_changes",
    "observe",
    "order_of",
    "read_observation",
    "read_observations",
    "same_facts",
    "tell_behind",
    "write_observation",
]

_READ_ALL = "SELECT server, state, revision, body FROM observation ORDER BY server"
_READ = "SELECT state, revision, body FROM observation WHERE server = ?"
_WRITE = """
    INSERT INTO observation (server, state, revision, ledger_sequence, body) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (server) DO UPDATE SET state = excluded.state, revision = excluded.revision,
        ledger_sequence = excluded.ledger_sequence, body = excluded.body
"""
_FORGET = "DELETE FROM observation WHERE server = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is known of a server by reports."""

    state: int
    """Whether it reports, a `ServerState`."""
    revision: int
    """Count of changes, part of the server's etag."""
    observed: server_pb2.ServerObservation
    """What it reported."""


def read_observation(reader: Reader, server: str) -> Observation | None:
    """Return what is known of a server; None if nothing is."""
    found = reader.execute(_READ, (server,)).fetchone()
    if found is None:
        return None
    state, revision, body = found
    return Observation(state=state, revision=revision, observed=server_pb2.ServerObservation.FromString(body))


def write_observation(reader: Reader, server: str, observation: Observation) -> None:
    """Store what is known of a server."""
    observed = observation.observed
    reader.execute(
        _WRITE,
        (server, observation.state, observation.revision, observed.ledger_sequence, observed.SerializeToString()),
    )


def forget_observation(reader: Reader, server: str) -> None:
    """Forget what was reported of a server that is removed."""
    reader.execute(_FORGET, (server,))
    forget_server(reader, server)


def read_observations(reader: Reader) -> Iterator[tuple[str, Observation]]:
    """Yield what is known of every server that was ever reported on."""
    for server, state, revision, body in reader.execute(_READ_ALL):
        observed = server_pb2.ServerObservation.FromString(body)
        yield server, Observation(state=state, revision=revision, observed=observed)


def order_of(observed: server_pb2.ServerObservation) -> tuple[int, int, int]:
    """Return what orders looks at a host: the position of its ledger, the agent's start, and the look of that agent."""
    return observed.ledger_sequence, observed.agent_start, observed.look


def is_older(one: server_pb2.ServerObservation, other: server_pb2.ServerObservation) -> bool:
    """Return whether a look at a host was made before another one (P27).

    Positions of two ledgers say nothing of each other: where a ledger was lost, the agent that has another one is heard
    at once.
    """
    return not has_other_ledger(one, other) and order_of(one) < order_of(other)


def has_other_ledger(one: server_pb2.ServerObservation, other: server_pb2.ServerObservation) -> bool:
    """Return whether two looks are known to reflect different ledgers; those of older agents do not say which."""
    return bool(one.ledger_id and other.ledger_id and one.ledger_id != other.ledger_id)


def same_facts(one: server_pb2.ServerObservation, other: server_pb2.ServerObservation) -> bool:
    """Return whether two reports say the same of the host, whenever they were made."""
    stripped = []
    for observed in (one, other):
        copy = server_pb2.ServerObservation()
        copy.CopyFrom(observed)
        copy.ClearField("report_time")
        copy.ClearField("ledger_sequence")
        copy.ClearField("agent_start")
        copy.ClearField("look")
        stripped.append(copy)
    return stripped[0] == stripped[1]


def observe(
    transaction: FeedWriter, server: str, *, state: int, observed: server_pb2.ServerObservation | None, now: datetime
) -> Observation | None:
    """Store what was observed of a server, and publish it if more than its time changed.

    Args:
        transaction: the transaction.
        server: resource name of the server.
        state: whether it reports, a `ServerState`.
        observed: what it reported; None if it did not. An older report than the stored one is left out (P27).
        now: the time of the event that a change of the state raises.

    Returns:
        What is known now; None if there is no such server.
    """
    row = read_row(transaction, server)
    if row is None or row.deleted:
        return None
    known = read_observation(transaction, server)
    before = known or Observation(state=0, revision=0, observed=server_pb2.ServerObservation())
    latest = before.observed
    if observed is not None and not is_older(observed, latest):
        latest = observed
    returned = state == server_pb2.SERVER_STATE_ONLINE and before.observed.HasField("death")
    if returned and latest is before.observed:
        latest = server_pb2.ServerObservation()
        latest.CopyFrom(before.observed)
        latest.ClearField("death")  # whatever its ledger has lost, it is there
    if observed is not None and is_disconnected(transaction, server):
        reconnect(transaction, server, now, tell=state == before.state)
    if state == before.state and latest is before.observed:
        return before
    changed = state != before.state or not same_facts(before.observed, latest)
    after = Observation(state=state, revision=before.revision + changed, observed=latest)
    write_observation(transaction, server, after)
    if changed:
        lost = follow_storage(transaction, server, latest.repositories, now)
        follow_links(transaction, server, latest.links, now)
        follow_heartbeats(transaction, server, latest.heartbeats, now)
        publish(transaction, [server, *lost])
    if returned:
        return_from_death(transaction, server, f"{row.uid}/returned/{after.revision}", now)
    if state != before.state and before.state:
        raise_event(transaction, f"{row.uid}/{after.revision}", _transition(server, state), now)
    return after


def missed_changes(reader: Reader, server: str) -> int:
    """Return how many changes a server has missed; 0 if it is up to date, or not there."""
    row = read_row(reader, server)
    if row is None or row.deleted:
        return 0
    stored = server_pb2.Server.FromString(row.body)
    return max(stored.desired_revision - stored.applied_revision, 0)


def tell_behind(transaction: FeedWriter, server: str, now: datetime) -> None:
    """Raise the event that a server which reports has missed changes, once for each return and each change."""
    row, missed = read_row(transaction, server), missed_changes(transaction, server)
    if row is None or not missed:
        return
    known = read_observation(transaction, server)
    revision = known.revision if known is not None else 0
    desired = server_pb2.Server.FromString(row.body).desired_revision
    text = f"{server} reports and is {missed} change{'' if missed == 1 else 's'} behind"
    event = event_types.new_event(event_types.SERVER_BEHIND, server, text)
    raise_event(transaction, f"{row.uid}/behind/{desired}/{revision}", event, now)


def _transition(server: str, state: int) -> event_pb2.Event:
    if state == server_pb2.SERVER_STATE_ONLINE:
        return event_types.new_event(event_types.SERVER_ONLINE, server, f"{server} reports again")
    return event_types.new_event(event_types.SERVER_OFFLINE, server, f"{server} has stopped reporting")
