-- Which process syncs. The epoch counts how often that changed, so that a holder that slept through a
-- change finds out in its next transaction.
CREATE TABLE lease (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL DEFAULT 0,
    -- The open store that holds it; null for none.
    holder TEXT,
    -- Whether the holder has the lock on the file beside this one, so that who gets that lock knows
    -- it to be gone.
    locked INTEGER NOT NULL DEFAULT 0,
    -- The holder's status as JSON, for the apps of the others.
    status TEXT,
    -- How often others asked for a sync.
    asked INTEGER NOT NULL DEFAULT 0,
    -- The last of these questions after which the holder had all that the server had.
    answered INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO lease (one) VALUES (1);

-- The open store that alone waits for the verdict; empty where there may be several.
ALTER TABLE outbox ADD COLUMN writer TEXT NOT NULL DEFAULT '';

-- What became of operations that another process may wait for: a verdict as JSON, or the operation
-- that took their place.
CREATE TABLE verdicts (
    seq INTEGER PRIMARY KEY,
    request_id TEXT UNIQUE NOT NULL,
    verdict TEXT,
    moved_to TEXT
) STRICT;
