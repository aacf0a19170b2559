-- The last operation that records a proof of a server's death, and the number of the last handshake with that server when
-- it was asked for: a handshake since then means that the server was back, and the proof is worth nothing any more (P17);
-- the number is -1 from then on.
CREATE TABLE proof (
    server      TEXT    PRIMARY KEY,
    operation   INTEGER NOT NULL,
    hello       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was settled without a server on such a proof, to be told to it in the next handshake before anything else.
CREATE TABLE settled_without (
    server      TEXT    NOT NULL,
    step_key    TEXT    NOT NULL,
    phase       INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    record      BLOB    NOT NULL,
    PRIMARY KEY (server, step_key, phase, attempt)
) STRICT, WITHOUT ROWID;
