"""The schema of locks.db, one numbered file per step."""
