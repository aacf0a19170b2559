-- A row here says that the database was restored, and grants nothing before the scheduler has said what is held (P32).
CREATE TABLE restored (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    incarnation INTEGER NOT NULL
);
