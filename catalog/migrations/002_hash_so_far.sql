-- A hash that was broken off goes on where it was: its state after so many bytes.
ALTER TABLE models ADD COLUMN hashed_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE models ADD COLUMN hash_state   BLOB;
