-- The two streams that every job appends to have tables of their own, in which a new record comes last.
CREATE TABLE job_event_records (
    stream_id INTEGER NOT NULL,
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    data BLOB NOT NULL,
    hash BLOB
) STRICT;
CREATE TABLE audit_records (
    stream_id INTEGER NOT NULL,
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    data BLOB NOT NULL,
    hash BLOB
) STRICT;
INSERT INTO job_event_records SELECT stream_id, seq, at, data, hash FROM records
    WHERE stream_id = (SELECT id FROM streams WHERE name = 'events/jobs') ORDER BY seq;
INSERT INTO audit_records SELECT stream_id, seq, at, data, hash FROM records
    WHERE stream_id = (SELECT id FROM streams WHERE name = 'audit') ORDER BY seq;
DELETE FROM records WHERE stream_id IN (SELECT id FROM streams WHERE name IN ('events/jobs', 'audit'));

-- Parts of the search index are put together when there is nothing else to write, see `search.rs`; while there is, no
-- sooner than there are sixteen of a size.
INSERT INTO job_search (job_search, rank) VALUES ('automerge', 16), ('crisismerge', 64);

-- The lists of one state in order of submit are merged from those of its priorities.
DROP INDEX jobs_by_status;
