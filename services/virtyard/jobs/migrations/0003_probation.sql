-- How the scheduler's last process began and ended, by which crashes are told from clean stops (P21).

CREATE TABLE life (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    started     REAL    NOT NULL,
    clean       INTEGER NOT NULL CHECK (clean IN (0, 1)),
    crashes     INTEGER NOT NULL CHECK (crashes >= 0)
) STRICT;
