-- A field may refer to several objects, as the servers of a network do: a row for each target.
CREATE TABLE relation_new (
    source TEXT NOT NULL,
    field TEXT NOT NULL,
    target TEXT NOT NULL,
    kind TEXT NOT NULL,
    position INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (source, field, target)
) WITHOUT ROWID;
INSERT INTO relation_new SELECT source, field, target, kind, position, amount FROM relation;
DROP TABLE relation;
ALTER TABLE relation_new RENAME TO relation;
CREATE INDEX relation_by_target ON relation (target, kind, field, position, source);
CREATE TRIGGER relation_added AFTER INSERT ON relation WHEN NEW.amount <> 0
BEGIN
    INSERT INTO total (target, kind, field, amount) VALUES (NEW.target, NEW.kind, NEW.field, NEW.amount)
    ON CONFLICT (target, kind, field) DO UPDATE SET amount = amount + excluded.amount;
END;
CREATE TRIGGER relation_removed AFTER DELETE ON relation WHEN OLD.amount <> 0
BEGIN
    UPDATE total SET amount = amount - OLD.amount
    WHERE target = OLD.target AND kind = OLD.kind AND field = OLD.field;
END;
