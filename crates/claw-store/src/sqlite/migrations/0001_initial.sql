-- Numbers that only grow: `job_seq`, `document_version`, `ended_completed`, `ended_failed`, `ended_cancelled`,
-- and `search_indexed`, the last job that the search index knows.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE documents (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    sort_key TEXT NOT NULL,
    owner TEXT NOT NULL,
    value TEXT NOT NULL,
    UNIQUE (kind, id)
) STRICT;
CREATE INDEX documents_sorted ON documents (kind, sort_key, id);
CREATE INDEX documents_owned ON documents (kind, owner, sort_key, id);

CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last_seq INTEGER NOT NULL
) STRICT;
CREATE TABLE records (
    stream_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (stream_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    token INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row a job, small, because it is rewritten with every step of the job's life. All moments are nanoseconds
-- since 1970. `place` says where a waiting job stands:
--   ready   a claim may take it
--   behind  another exclusive job of its workspace runs or comes first
--   later   it backs off until `not_before`
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    workspace TEXT,
    source TEXT NOT NULL,
    priority INTEGER NOT NULL,
    exclusive INTEGER NOT NULL,
    idempotency_key TEXT,
    created_at INTEGER NOT NULL,
    status TEXT NOT NULL,
    place TEXT,
    queue_seq INTEGER NOT NULL,
    not_before INTEGER,
    lease_until INTEGER,
    progress TEXT NOT NULL
) STRICT;

-- The queue.
CREATE INDEX jobs_ready ON jobs (priority DESC, queue_seq) WHERE place = 'ready';
CREATE INDEX jobs_behind ON jobs (workspace, priority DESC, queue_seq) WHERE place = 'behind';
CREATE INDEX jobs_later ON jobs (not_before) WHERE place = 'later';
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE status = 'running';
-- At most one exclusive job of a workspace runs, and at most one is ready: the database itself refuses a second.
CREATE UNIQUE INDEX jobs_exclusive_running ON jobs (workspace) WHERE status = 'running' AND exclusive = 1;
CREATE UNIQUE INDEX jobs_exclusive_ready ON jobs (workspace) WHERE place = 'ready' AND exclusive = 1;
CREATE UNIQUE INDEX jobs_idempotency ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- The archive. Every index ends with `seq`, as all indexes of SQLite do, so each range is in order of submit.
CREATE INDEX jobs_by_status ON jobs (status);
CREATE INDEX jobs_by_priority ON jobs (status, priority DESC);
CREATE INDEX jobs_by_owner ON jobs (owner, status);
CREATE INDEX jobs_by_source ON jobs (source, status);
CREATE INDEX jobs_by_workspace ON jobs (workspace, status) WHERE workspace IS NOT NULL;

-- What was asked for; never rewritten. The prompt has its own column so that searching need not parse JSON.
CREATE TABLE job_specs (
    seq INTEGER PRIMARY KEY,
    prompt TEXT NOT NULL,
    spec TEXT NOT NULL
) STRICT;
CREATE TABLE job_results (
    seq INTEGER PRIMARY KEY,
    finished_at INTEGER NOT NULL,
    result TEXT NOT NULL
) STRICT;
CREATE TABLE job_tags (
    tag TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (tag, seq)
) STRICT, WITHOUT ROWID;

-- How many stored jobs have this value in this dimension (`all`, `owner`, `workspace`, `source`, `tag`) and status.
CREATE TABLE job_totals (
    dimension TEXT NOT NULL,
    value TEXT NOT NULL,
    status TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (dimension, value, status)
) STRICT, WITHOUT ROWID;

-- The same for every combination that occurs. `tag` is empty in the row that counts every job, with a tag or without;
-- `workspace` is empty for none.
CREATE TABLE job_groups (
    tag TEXT NOT NULL,
    owner TEXT NOT NULL,
    workspace TEXT NOT NULL,
    source TEXT NOT NULL,
    status TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (tag, owner, workspace, source, status)
) STRICT, WITHOUT ROWID;

-- Trigrams of the prompts, filled in batches: see `search.rs`.
CREATE VIRTUAL TABLE job_search USING fts5 (prompt, tokenize = 'trigram', content = '', contentless_delete = 1);
