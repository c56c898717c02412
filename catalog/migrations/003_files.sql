-- A model has files: one, or its parts in their order.
ALTER TABLE models RENAME TO models_2;
DROP INDEX models_by_sha256;
CREATE TABLE models (
	ref          TEXT    PRIMARY KEY,
	source       TEXT    NOT NULL,            -- 'import', 'huggingface', 'ollama', 'lmstudio' (used in place); 'copy', 'hub' (ours)
	repo         TEXT    NOT NULL DEFAULT '', -- of a hub, else empty
	revision     TEXT    NOT NULL DEFAULT '', -- commit of the repository, where it is known
	architecture TEXT    NOT NULL,
	quantization TEXT    NOT NULL,
	parameters   INTEGER NOT NULL,
	pinned       INTEGER NOT NULL DEFAULT 0,  -- never removed to make room
	added_at     TEXT    NOT NULL,
	used_at      TEXT    NOT NULL DEFAULT '',
	uses         INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX models_by_repo ON models (repo COLLATE NOCASE);
CREATE TABLE files (
	ref          TEXT    NOT NULL REFERENCES models (ref) ON DELETE CASCADE,
	part         INTEGER NOT NULL,            -- 0 is the first
	name         TEXT    NOT NULL,            -- as its source calls it
	path         TEXT    NOT NULL,
	size_bytes   INTEGER NOT NULL,
	modified_ns  INTEGER NOT NULL,            -- of the file, when it was read
	sha256       TEXT    NOT NULL DEFAULT '', -- of its content; empty until it is computed
	promised     TEXT    NOT NULL DEFAULT '', -- the sha256 that its source says; empty when it says none
	wrong        INTEGER NOT NULL DEFAULT 0,  -- its content is not what it was, or not what was promised
	hashed_bytes INTEGER NOT NULL DEFAULT 0,  -- a hash that was broken off goes on from its state after so many bytes
	hash_state   BLOB,
	PRIMARY KEY (ref, part)
) STRICT;
CREATE INDEX files_by_sha256 ON files (sha256);
CREATE INDEX files_by_path ON files (path);
INSERT INTO models (ref, source, architecture, quantization, parameters, added_at, used_at, uses)
	SELECT ref, source, architecture, quantization, parameters, added_at, used_at, uses FROM models_2;
INSERT INTO files (ref, part, name, path, size_bytes, modified_ns, sha256, promised, hashed_bytes, hash_state)
	SELECT ref, 0, substr(ref, length(rtrim(ref, replace(ref, '/', ''))) + 1), path, size_bytes, modified_ns, sha256,
		iif(source = 'copy', substr(path, -69, 64), ''), hashed_bytes, hash_state FROM models_2;
DROP TABLE models_2;
