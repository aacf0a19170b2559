-- History: ended operations leave the live tables for the archive, and the archive for good, by age and by count.

-- What is live and has ended, the oldest first, for the keeper of the history.
CREATE INDEX operation_ended ON operation (open, number) WHERE open = 0;

-- The highest number of an operation that has left the live table: no number is given twice.
CREATE TABLE left_live (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    highest INTEGER NOT NULL
) STRICT;
INSERT INTO left_live (one, highest) VALUES (1, 0);

-- Archived operations. The body is a compressed ArchivedOperation; times are seconds since 1970. The request id goes once
-- it may be used anew.
CREATE TABLE archived_operation (
    number      INTEGER PRIMARY KEY,
    principal   TEXT    NOT NULL,
    request_id  TEXT,
    create_time INTEGER NOT NULL,
    end_time    INTEGER NOT NULL,
    body        BLOB    NOT NULL
) STRICT;
CREATE INDEX archived_request ON archived_operation (principal, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX archived_request_end ON archived_operation (end_time) WHERE request_id IS NOT NULL;
CREATE INDEX archived_create_time ON archived_operation (create_time, number);

-- Their jobs, as far as lists find them by an index; they are rendered from the operation.
CREATE TABLE archived_job (
    operation   INTEGER NOT NULL REFERENCES archived_operation (number),
    number      INTEGER NOT NULL,
    object      TEXT    NOT NULL,
    state       INTEGER NOT NULL,
    PRIMARY KEY (operation, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX archived_job_object ON archived_job (object, operation DESC, number);
CREATE INDEX archived_job_state ON archived_job (state, operation DESC, number);

-- What is known of each participant's ledger: its identity, its last position that was heard of, the last handshake (P18).
CREATE TABLE participant (
    name        TEXT    PRIMARY KEY,
    ledger_id   TEXT    NOT NULL,
    sequence    INTEGER NOT NULL,
    hello       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
