-- What triggers and schedules have done, and how far the inventory's events were looked at; both are written in the
-- commit of the operation that they submit (P31).

CREATE TABLE run_state (
    uid     TEXT PRIMARY KEY,
    body    BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE event_tail (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    token   TEXT    NOT NULL
) STRICT;
