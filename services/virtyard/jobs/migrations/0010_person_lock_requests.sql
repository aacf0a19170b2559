-- The request ids of people's locks (P26). The record and its end, in seconds since 1970, are set once the lock is
-- released; till then person_lock has it. The row goes once the id may be used anew.
CREATE TABLE person_lock_request (
    principal   TEXT    NOT NULL,
    request_id  TEXT    NOT NULL,
    lock        TEXT    NOT NULL UNIQUE,
    request     BLOB    NOT NULL,
    record      BLOB,
    end_time    REAL,
    PRIMARY KEY (principal, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX person_lock_request_end ON person_lock_request (end_time) WHERE end_time IS NOT NULL;
