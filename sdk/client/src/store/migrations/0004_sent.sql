-- Finds what was sent without reading all that waits; a batch at most, where it goes well.
CREATE INDEX outbox_sent ON outbox (sent_first_ms, sent_last_ms) WHERE sent_first_ms IS NOT NULL;
