-- Events that have left the live log, whole and in its columns, so that the same filters find them; they never change any
-- more, so there is no index of open ones, and none of keys.
CREATE TABLE archived_event (
    number INTEGER PRIMARY KEY,
    type TEXT NOT NULL,
    severity INTEGER NOT NULL,
    object TEXT NOT NULL,
    operation TEXT NOT NULL,
    time INTEGER NOT NULL,
    open INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX archived_event_by_object ON archived_event (object);
CREATE INDEX archived_event_by_operation ON archived_event (operation) WHERE operation <> '';
CREATE INDEX archived_event_by_type ON archived_event (type, number, severity);
CREATE INDEX archived_event_grave ON archived_event (number) WHERE severity >= 3;
