-- The owner that an owner counts as a child of, so that it does not wait for it; empty for most.

ALTER TABLE owner ADD COLUMN under TEXT NOT NULL DEFAULT '';
