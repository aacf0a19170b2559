-- The life that began with the last restore (P32): the number of the last operation that the backup knew, the number above
-- which those of this life are, and whether nothing is begun yet. No row in a database that was never restored.
CREATE TABLE restored (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    incarnation INTEGER NOT NULL,
    known       INTEGER NOT NULL,
    above       INTEGER NOT NULL,
    held        INTEGER NOT NULL CHECK (held IN (0, 1))
) STRICT;

-- The servers whose ledgers were compared with this database since then; the others are given no work.
CREATE TABLE compared (
    server      TEXT    PRIMARY KEY
) STRICT, WITHOUT ROWID;
