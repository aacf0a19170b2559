-- What is wrong on hosts now: the storage of an object that a server has lost (`part` is the server), and the links of a
-- server that are down (`part` is the interface). A row is there from the event that tells of it to the one that ends it.
CREATE TABLE trouble (
    object TEXT NOT NULL,
    part TEXT NOT NULL,
    PRIMARY KEY (object, part)
) WITHOUT ROWID;

-- The machines that are to be started again after a pause: the run that ended, how (a `GuestEnd`), the number of the
-- event that told of it, and when the pause is over, in microseconds since 1970.
CREATE TABLE restart (
    machine TEXT PRIMARY KEY,
    uid TEXT NOT NULL,
    run TEXT NOT NULL,
    ended INTEGER NOT NULL,
    told INTEGER NOT NULL,
    due INTEGER NOT NULL
) WITHOUT ROWID;
