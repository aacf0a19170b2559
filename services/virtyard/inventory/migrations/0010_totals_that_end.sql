-- A sum that has come to nothing is forgotten: else each target that was ever filled leaves a row behind.
DELETE FROM total WHERE amount = 0;
DROP TRIGGER relation_removed;
CREATE TRIGGER relation_removed AFTER DELETE ON relation WHEN OLD.amount <> 0
BEGIN
    UPDATE total SET amount = amount - OLD.amount
    WHERE target = OLD.target AND kind = OLD.kind AND field = OLD.field;
    DELETE FROM total WHERE target = OLD.target AND kind = OLD.kind AND field = OLD.field AND amount = 0;
END;
