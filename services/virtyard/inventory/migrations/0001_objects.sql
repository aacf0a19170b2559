-- The id of this Virtyard, for which hosts are claimed; made with the database.
CREATE TABLE site (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL
);
INSERT INTO site (one, id) VALUES (1, lower(
    hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8'
    || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))
));

-- The objects. A deleted one stays as a tombstone, so that an undo restores the same uid with a higher generation (P9).
CREATE TABLE object (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    uid TEXT NOT NULL CHECK (uid <> ''),
    generation INTEGER NOT NULL CHECK (generation > 0),
    writer INTEGER NOT NULL,
    deleted INTEGER NOT NULL CHECK (deleted IN (0, 1)),
    display_name TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX object_by_name ON object (name) WHERE deleted = 0;
CREATE INDEX object_by_display_name ON object (kind, display_name, name) WHERE deleted = 0;
CREATE INDEX object_by_create_time ON object (kind, create_time, name) WHERE deleted = 0;

-- What agents report of their servers; apart from the configuration, so that neither overwrites the other (P27).
CREATE TABLE observation (
    server TEXT PRIMARY KEY,
    state INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    ledger_sequence INTEGER NOT NULL,
    body BLOB NOT NULL
) WITHOUT ROWID;

-- The references that objects store; what the other side shows is read from here. `position` orders the sources of a
-- target, `amount` is what a source takes of its target, in bytes.
CREATE TABLE relation (
    source TEXT NOT NULL,
    field TEXT NOT NULL,
    target TEXT NOT NULL,
    kind TEXT NOT NULL,
    position INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (source, field)
) WITHOUT ROWID;
CREATE INDEX relation_by_target ON relation (target, kind, field, position, source);

-- The sums of the amounts, kept by the triggers below, so that a check of capacity reads one row.
CREATE TABLE total (
    target TEXT NOT NULL,
    kind TEXT NOT NULL,
    field TEXT NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (target, kind, field)
) WITHOUT ROWID;
CREATE TRIGGER relation_added AFTER INSERT ON relation WHEN NEW.amount <> 0
BEGIN
    INSERT INTO total (target, kind, field, amount) VALUES (NEW.target, NEW.kind, NEW.field, NEW.amount)
    ON CONFLICT (target, kind, field) DO UPDATE SET amount = amount + excluded.amount;
END;
CREATE TRIGGER relation_removed AFTER DELETE ON relation WHEN OLD.amount <> 0
BEGIN
    UPDATE total SET amount = amount - OLD.amount
    WHERE target = OLD.target AND kind = OLD.kind AND field = OLD.field;
END;

-- What became of every effect, by its key; `prior` is what undoes it.
CREATE TABLE ledger (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    operation INTEGER NOT NULL,
    step_key TEXT NOT NULL,
    phase INTEGER NOT NULL CHECK (phase IN (1, 2)),
    attempt INTEGER NOT NULL CHECK (attempt > 0),
    payload_hash BLOB NOT NULL,
    state INTEGER NOT NULL,
    record BLOB NOT NULL,
    prior BLOB NOT NULL,
    UNIQUE (step_key, phase, attempt)
);

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

-- The events, each once for its key; a later one has a higher number.
CREATE TABLE event (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL
);
