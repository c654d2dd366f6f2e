-- At or below this cursor nothing is missing: it was read again when nothing could be committed late any more.
ALTER TABLE meta ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;
