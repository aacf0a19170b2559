-- What webhooks have still to send, and what they have given up (next_time is NULL); the key from which their secrets are
-- derived. A delivery that the receiver took is no row any more.
CREATE TABLE webhook_delivery (
    place       INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook     TEXT    NOT NULL,
    id          TEXT    NOT NULL UNIQUE,
    event       TEXT    NOT NULL,
    event_type  TEXT    NOT NULL,
    body        BLOB    NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    create_time REAL    NOT NULL,
    next_time   REAL,
    last_error  TEXT    NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX webhook_delivery_by_webhook ON webhook_delivery (webhook, place);
CREATE INDEX webhook_delivery_due ON webhook_delivery (webhook, next_time, place) WHERE next_time IS NOT NULL;
CREATE INDEX webhook_delivery_dead ON webhook_delivery (webhook, place) WHERE next_time IS NULL;

CREATE TABLE webhook_key (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    secret      BLOB    NOT NULL
) STRICT;
