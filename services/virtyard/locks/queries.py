"""The SQL of locks.db, by name."""

from __future__ import annotations

COUNTER = "SELECT revision, arrivals, tokens FROM counter"

SET_COUNTER = "UPDATE counter SET revision = ?, arrivals = ?, tokens = ?"

OWNERS = "SELECT owner, epoch, arrival, priority, purpose, round, requested, granted, asked, under FROM owner"

LOCKS = "SELECT owner, object, mode, token, job FROM lock ORDER BY owner, object"

TOMBSTONES = "SELECT owner, epoch FROM tombstone WHERE owner IN (SELECT value FROM json_each(?))"

ADD_TOMBSTONE = "INSERT INTO tombstone (owner, epoch, closed, operation) VALUES (?, ?, ?, ?)"

FORGET_TOMBSTONES = """
DELETE FROM tombstone WHERE owner IN (SELECT owner FROM tombstone WHERE operation BETWEEN 1 AND ? LIMIT ?)
"""

FORGET_PEOPLES_TOMBSTONES = """
DELETE FROM tombstone WHERE owner IN
(SELECT owner FROM tombstone INDEXED BY tombstone_of_people
WHERE owner >= 'locks/' AND owner < 'locks0' AND closed < ? LIMIT ?)
"""

DELETE_LOCKS = "DELETE FROM lock WHERE owner IN (SELECT value FROM json_each(?))"

DELETE_OWNERS = "DELETE FROM owner WHERE owner IN (SELECT value FROM json_each(?))"

PUT_OWNER = """
INSERT INTO owner (owner, epoch, arrival, priority, purpose, round, requested, granted, asked, under)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (owner) DO UPDATE SET
    epoch = excluded.epoch, arrival = excluded.arrival, priority = excluded.priority, purpose = excluded.purpose,
    round = excluded.round, requested = excluded.requested, granted = excluded.granted, asked = excluded.asked
"""

ADD_LOCK = "INSERT INTO lock (owner, object, mode, token, job) VALUES (?, ?, ?, ?, ?)"
