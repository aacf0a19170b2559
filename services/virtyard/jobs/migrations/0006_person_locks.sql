-- The locks that people hold or wait for; with the open operations they are all that may be locked (P23).

CREATE TABLE person_lock (
    name    TEXT    PRIMARY KEY,
    record  BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
