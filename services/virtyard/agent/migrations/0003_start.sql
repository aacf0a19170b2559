-- How often an agent of this host has started: with the number of a look, it orders what is reported of the host (P27).
CREATE TABLE start (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    count INTEGER NOT NULL
);
INSERT INTO start (one, count) VALUES (1, 0);
