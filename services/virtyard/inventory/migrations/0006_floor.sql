-- Below which operation every key is refused and nothing is remembered, and which tokens are (P18).
CREATE TABLE floor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    settled_below INTEGER NOT NULL,
    tokens_below INTEGER NOT NULL
);
INSERT INTO floor (one, settled_below, tokens_below) VALUES (1, 0, 0);

-- The tombstones of objects, which are kept until the operation that deleted them can undo it no more.
CREATE INDEX object_deleted ON object (writer) WHERE deleted = 1;
