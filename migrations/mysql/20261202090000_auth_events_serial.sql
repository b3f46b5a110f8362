-- An event that is written twice, because nobody knew whether it was, is there once.
ALTER TABLE auth_events
    ADD COLUMN serial BIGINT NULL,
    ADD UNIQUE KEY auth_events_serial (origin, serial);
