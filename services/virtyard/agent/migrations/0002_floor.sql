-- Below which operation every key is refused and nothing is remembered, and which tokens are (P18). Of the operations
-- below `sealed_below` only those that have an epoch were open when this ledger was found to be another one or an older.
CREATE TABLE floor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    settled_below INTEGER NOT NULL,
    tokens_below INTEGER NOT NULL,
    sealed_below INTEGER NOT NULL,
    hello INTEGER NOT NULL
);
INSERT INTO floor (one, settled_below, tokens_below, sealed_below, hello) VALUES (1, 0, 0, 0, 0);

CREATE INDEX ledger_by_operation ON ledger (operation) WHERE state <> 2;
