CREATE TABLE models (
	ref          TEXT    PRIMARY KEY,
	path         TEXT    NOT NULL,
	size_bytes   INTEGER NOT NULL,
	modified_ns  INTEGER NOT NULL,            -- of the file, when it was read
	sha256       TEXT    NOT NULL DEFAULT '', -- empty until it is computed
	architecture TEXT    NOT NULL,
	quantization TEXT    NOT NULL,
	parameters   INTEGER NOT NULL,
	source       TEXT    NOT NULL,            -- 'import' (used in place) or 'copy' (ours)
	added_at     TEXT    NOT NULL,
	used_at      TEXT    NOT NULL DEFAULT '',
	uses         INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX models_by_sha256 ON models (sha256);
