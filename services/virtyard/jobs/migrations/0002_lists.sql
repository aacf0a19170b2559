-- What lists and counters are read from, so that a page costs the same wherever it begins and however many jobs there are.

ALTER TABLE job ADD COLUMN object TEXT NOT NULL DEFAULT '';

DROP INDEX job_state;
CREATE INDEX job_state ON job (state, operation DESC, number);
CREATE INDEX job_object ON job (object, operation DESC, number);

CREATE TABLE job_count (
    state   INTEGER PRIMARY KEY,
    jobs    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO job_count (state, jobs) VALUES (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0);
UPDATE job_count SET jobs = (SELECT count(*) FROM job WHERE job.state = job_count.state);

CREATE TRIGGER job_count_more AFTER INSERT ON job
BEGIN
    UPDATE job_count SET jobs = jobs + 1 WHERE state = NEW.state;
END;

CREATE TRIGGER job_count_moved AFTER UPDATE OF state ON job WHEN NEW.state <> OLD.state
BEGIN
    UPDATE job_count SET jobs = jobs - 1 WHERE state = OLD.state;
    UPDATE job_count SET jobs = jobs + 1 WHERE state = NEW.state;
END;

CREATE TRIGGER job_count_less AFTER DELETE ON job
BEGIN
    UPDATE job_count SET jobs = jobs - 1 WHERE state = OLD.state;
END;
