-- An event that is written twice, because nobody knew whether it was, is there once.
ALTER TABLE auth_events ADD COLUMN serial INTEGER NULL;
CREATE UNIQUE INDEX auth_events_serial ON auth_events (origin, serial);
