-- Chained streams: the hash of each record, and of the last one that was trimmed.
ALTER TABLE records ADD COLUMN hash BLOB;
ALTER TABLE streams ADD COLUMN anchor BLOB;

-- What was spent, per day (days since 1970, UTC), owner, workspace (empty for none) and model (empty in the row that
-- counts runs, which belong to no model). Amounts in billionths of a dollar.
CREATE TABLE spending (
    day INTEGER NOT NULL,
    owner TEXT NOT NULL,
    workspace TEXT NOT NULL,
    model TEXT NOT NULL,
    runs INTEGER NOT NULL,
    turns INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cache_write_5m INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    PRIMARY KEY (day, owner, workspace, model)
) STRICT, WITHOUT ROWID;

-- When a job ended, for retention.
ALTER TABLE jobs ADD COLUMN ended_at INTEGER;
UPDATE jobs
SET ended_at = CAST(unixepoch(json_extract(progress, '$.state.finished_at')) AS INTEGER) * 1000000000
WHERE status IN ('completed', 'failed', 'cancelled');
CREATE INDEX jobs_by_end ON jobs (ended_at) WHERE ended_at IS NOT NULL;

-- With the owner, so that a claim can pass over the jobs of some without looking at them.
DROP INDEX jobs_ready;
CREATE INDEX jobs_ready ON jobs (priority DESC, queue_seq, owner) WHERE place = 'ready';
