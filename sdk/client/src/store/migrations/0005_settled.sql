-- Up to this cursor the log has been read again, after the time for late commits.
ALTER TABLE meta ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;
