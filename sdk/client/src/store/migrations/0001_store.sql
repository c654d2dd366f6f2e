-- One row: whose store this is, and how far it has come.
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    account_id TEXT,
    cursor INTEGER
) STRICT;
INSERT INTO meta (one) VALUES (1);

-- The server's copies, tombstones included: an older change must not bring them back.
CREATE TABLE records (
    id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    fields TEXT NOT NULL
) STRICT;
CREATE INDEX records_by_update ON records (updated_at, id) WHERE deleted_at IS NULL;
CREATE INDEX records_by_creation ON records (created_at, id) WHERE deleted_at IS NULL;

-- Local writes on their way. `fields` is null for a deletion, `base_fields` where there was no record
-- to begin with. A record has at most one row that was sent, and after it one that was not.
CREATE TABLE outbox (
    record_id TEXT NOT NULL,
    base_version INTEGER NOT NULL,
    base_fields TEXT,
    fields TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL UNIQUE,
    merged INTEGER NOT NULL DEFAULT 0,
    -- What was sent, to the byte; null until then.
    body TEXT,
    sent_first_ms INTEGER,
    sent_last_ms INTEGER,
    left_out INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX outbox_by_record ON outbox (record_id, seq);

-- Local sides of records that changed here and on the server, until the app decides.
CREATE TABLE conflicts (
    record_id TEXT PRIMARY KEY NOT NULL,
    base_version INTEGER NOT NULL,
    base_fields TEXT,
    fields TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    since_ms INTEGER NOT NULL
) STRICT;

-- Local writes that the server does not take, with the reason as JSON.
CREATE TABLE parked (
    record_id TEXT PRIMARY KEY NOT NULL,
    base_version INTEGER NOT NULL,
    base_fields TEXT,
    fields TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;

-- When a record was last merged without asking: a second time soon after means that something loops.
CREATE TABLE merges (
    record_id TEXT PRIMARY KEY NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;

-- What the app sees in place of the server's copy.
CREATE VIEW local AS
    SELECT record_id, created_at, updated_at, fields FROM outbox AS o
        WHERE seq = (SELECT max(seq) FROM outbox WHERE record_id = o.record_id)
    UNION ALL SELECT record_id, created_at, updated_at, fields FROM conflicts
    UNION ALL SELECT record_id, created_at, updated_at, fields FROM parked;
