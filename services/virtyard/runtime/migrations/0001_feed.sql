-- Facts about the database itself: its identity and its incarnation.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- One row, written last in every commit that has news: the numbering of the feed (P7).
CREATE TABLE feed (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    sequence INTEGER NOT NULL,
    oldest INTEGER NOT NULL,
    last_time REAL NOT NULL
);
INSERT INTO feed (one, sequence, oldest, last_time) VALUES (1, 0, 1, 0);

-- The news that watchers resume from; `oldest` of the feed row is the first one that is still kept.
CREATE TABLE journal (
    sequence INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    removed INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX journal_key ON journal (topic, key, sequence);
