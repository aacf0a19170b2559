-- What becomes of an event after it was recorded. `open` is 1 while it is to be acknowledged and has been neither
-- acknowledged nor cleared; those of older releases are closed. `place` is where it was last told in the feed, NULL if it
-- was told once only. All indexes are partial, so that the events of usual work, which stay as they are, cost nothing.
ALTER TABLE event ADD COLUMN open INTEGER NOT NULL DEFAULT 0;
ALTER TABLE event ADD COLUMN place INTEGER;
CREATE INDEX event_open ON event (number) WHERE open = 1;
CREATE INDEX event_open_of ON event (object) WHERE open = 1;
CREATE INDEX event_critical ON event (object) WHERE open = 1 AND severity = 4;
CREATE INDEX event_revised ON event (place) WHERE place IS NOT NULL;
CREATE INDEX event_alike ON event (object, type, number) WHERE key IS NOT NULL;

-- The keys of events that were folded into another one, kept for a week so that none is counted twice.
CREATE TABLE event_fold (
    key TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX event_fold_by_time ON event_fold (time);

-- So many events of one type and object within a time, in microseconds, are recorded each; the others are folded.
CREATE TABLE flood (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    events INTEGER NOT NULL,
    time INTEGER NOT NULL
);
INSERT INTO flood (one, events, time) VALUES (1, 10, 60000000);
