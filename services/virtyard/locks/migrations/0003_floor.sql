-- Below which operation every owner is closed, whether or not there is a tombstone of it (P18).
CREATE TABLE floor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    settled_below INTEGER NOT NULL,
    tokens_below INTEGER NOT NULL
);
INSERT INTO floor (one, settled_below, tokens_below) VALUES (1, 0, 0);

-- The number of the operation that a closed owner was; 0 where the owner was none.
ALTER TABLE tombstone ADD COLUMN operation INTEGER NOT NULL DEFAULT 0;
UPDATE tombstone SET operation = CAST(substr(owner, 12) AS INTEGER) WHERE owner GLOB 'operations/[0-9]*';
