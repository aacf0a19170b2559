-- Operations with their jobs, and what is due in other services after a commit here.

CREATE TABLE operation (
    number      INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL UNIQUE,
    principal   TEXT    NOT NULL,
    request_id  TEXT,
    method      TEXT    NOT NULL,
    open        INTEGER NOT NULL CHECK (open IN (0, 1)),
    epoch       INTEGER NOT NULL CHECK (epoch > 0),
    request     BLOB    NOT NULL,
    plan        BLOB    NOT NULL,
    record      BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX operation_request ON operation (principal, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX operation_open ON operation (number) WHERE open = 1;

CREATE TABLE job (
    operation   INTEGER NOT NULL REFERENCES operation (number),
    number      INTEGER NOT NULL,
    name        TEXT    NOT NULL UNIQUE,
    state       INTEGER NOT NULL,
    body        BLOB    NOT NULL,
    PRIMARY KEY (operation, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_state ON job (state);

-- The changes that kernel/job_states.py allows; a test compares the two.
CREATE TABLE job_change (
    before INTEGER NOT NULL,
    after  INTEGER NOT NULL,
    PRIMARY KEY (before, after)
) STRICT, WITHOUT ROWID;

INSERT INTO job_change (before, after) VALUES
    (1, 2), (1, 3), (1, 7), (2, 3), (2, 6), (2, 7), (3, 5), (3, 4), (5, 4), (4, 6), (4, 7), (4, 8), (8, 4), (8, 6);

CREATE TRIGGER job_state_change BEFORE UPDATE OF state ON job
WHEN NEW.state <> OLD.state AND NOT EXISTS (SELECT 1 FROM job_change WHERE before = OLD.state AND after = NEW.state)
BEGIN
    SELECT RAISE (ABORT, 'a job cannot change its state so');
END;

CREATE TABLE due (
    key         TEXT PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('release', 'events')),
    body        BLOB NOT NULL
) STRICT, WITHOUT ROWID;
