-- Which life of this ledger it is: another one each time that it was found to have forgotten something, so that what is
-- reported of the host is not held against positions from before. Empty for the first.
ALTER TABLE floor ADD COLUMN life TEXT NOT NULL DEFAULT '';
