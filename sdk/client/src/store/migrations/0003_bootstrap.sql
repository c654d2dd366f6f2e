-- What the app had before there was a service does not count against the outbox's limits.
ALTER TABLE outbox ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;
CREATE INDEX outbox_imported ON outbox (imported) WHERE imported;

-- When that was taken over; null for never.
ALTER TABLE meta ADD COLUMN bootstrapped_ms INTEGER;
