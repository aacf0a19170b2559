-- Events by number, which from now on is their place in the feed: higher than every number before. What the filters of
-- lists ask for has columns, whose values for older rows are read from the bodies when the database opens (`type` is
-- empty until then). Only events that come from elsewhere have a key; the others happen once with the effect that they
-- tell of. `time` is in microseconds since 1970.
CREATE TABLE event_new (
    number INTEGER PRIMARY KEY,
    key TEXT,
    type TEXT NOT NULL,
    severity INTEGER NOT NULL,
    object TEXT NOT NULL,
    operation TEXT NOT NULL,
    time INTEGER NOT NULL,
    body BLOB NOT NULL
);
INSERT INTO event_new SELECT number, key, '', 0, '', '', 0, body FROM event;
DROP TABLE event;
ALTER TABLE event_new RENAME TO event;
CREATE UNIQUE INDEX event_by_key ON event (key) WHERE key IS NOT NULL;
CREATE INDEX event_by_object ON event (object);
CREATE INDEX event_by_operation ON event (operation) WHERE operation <> '';
CREATE INDEX event_by_type ON event (type, number, severity);
CREATE INDEX event_grave ON event (number) WHERE severity >= 3;
