-- Every effect that this host accepted, by its key, with what came of it; a row without an effect is a tombstone.
CREATE TABLE ledger (
    step_key TEXT NOT NULL,
    phase INTEGER NOT NULL CHECK (phase IN (1, 2)),
    attempt INTEGER NOT NULL CHECK (attempt > 0),
    operation INTEGER NOT NULL,
    payload_hash BLOB NOT NULL,
    effect BLOB NOT NULL,
    state INTEGER NOT NULL,
    record BLOB NOT NULL,
    accepted INTEGER NOT NULL,
    accept_time REAL NOT NULL,
    PRIMARY KEY (step_key, phase, attempt)
) WITHOUT ROWID;
-- The effects that are under way (state 2), in the order in which they were accepted.
CREATE INDEX ledger_under_way ON ledger (accepted) WHERE state = 2;

-- The highest epoch seen of every operation (P14).
CREATE TABLE epoch (
    operation INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL
);

-- The highest fencing token seen of every object and mode (P2).
CREATE TABLE token (
    object TEXT NOT NULL,
    mode INTEGER NOT NULL,
    token INTEGER NOT NULL,
    PRIMARY KEY (object, mode)
) WITHOUT ROWID;

-- The position of the ledger: it rises with every row that is added and every result that is recorded (P27).
CREATE TABLE position (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    value INTEGER NOT NULL
);
INSERT INTO position (one, value) VALUES (1, 0);
