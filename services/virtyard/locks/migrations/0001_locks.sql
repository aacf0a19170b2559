-- One row: how many batches were decided, and the last arrival and fencing token that were given out.
CREATE TABLE counter (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL,
    arrivals INTEGER NOT NULL,
    tokens INTEGER NOT NULL
);
INSERT INTO counter (one, revision, arrivals, tokens) VALUES (1, 0, 0, 0);

-- Every open owner: one that holds its set, or waits for it (granted is null). Times are microseconds since 1970.
-- The set as it was asked for is kept where it is not the one that is held, as JSON of object to mode.
CREATE TABLE owner (
    owner TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    arrival INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    round INTEGER NOT NULL,
    requested INTEGER NOT NULL,
    granted INTEGER,
    asked TEXT
) WITHOUT ROWID;

-- Its locks; the token is 0 while the owner waits.
CREATE TABLE lock (
    owner TEXT NOT NULL REFERENCES owner (owner) ON DELETE CASCADE,
    object TEXT NOT NULL,
    mode INTEGER NOT NULL CHECK (mode BETWEEN 1 AND 5),
    token INTEGER NOT NULL CHECK (token >= 0),
    job TEXT NOT NULL,
    PRIMARY KEY (owner, object)
) WITHOUT ROWID;

-- The second line behind the table in memory: never two exclusive holders.
CREATE UNIQUE INDEX lock_one_exclusive_holder ON lock (object) WHERE mode = 5 AND token > 0;

-- Owners that were released for ever.
CREATE TABLE tombstone (
    owner TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    closed INTEGER NOT NULL
) WITHOUT ROWID;
