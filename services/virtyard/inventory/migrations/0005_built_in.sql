-- The objects that Virtyard brought along, by name: each is made once, so one that somebody deletes stays deleted.

CREATE TABLE built_in (
    name TEXT PRIMARY KEY
) WITHOUT ROWID;
