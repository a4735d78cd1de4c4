-- A store as version 1 of the schema wrote it. Never edited: later versions must read it.

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

-- What such a store held.
INSERT INTO counters VALUES ('document_version', 7), ('job_seq', 4), ('ended_completed', 2);
INSERT INTO documents VALUES ('thing', 'a', 7, '', '', '{"answer":42}');
INSERT INTO leases VALUES ('leader', 'server', 3, 1800000000000000000);
INSERT INTO jobs VALUES
    (2, '01956b3c-0000-7000-8000-000000000002', 'alice', NULL, 'api', 5, 0, 'key', 1800000000000000000,
        'completed', NULL, 2, NULL, NULL,
        '{"state":{"status":"completed","started_at":"2027-01-15T08:00:00Z","finished_at":"2027-01-15T08:01:00Z","worker":"host-boot-0"},"retry_count":0,"lease_count":1,"usage":{"cost_usd":0.25,"duration_ms":60000}}'),
    (3, '01956b3c-0000-7000-8000-000000000003', 'bob', '01956b3c-0000-7000-8000-0000000000aa', 'webhook', 9, 1, NULL, 1800000001000000000,
        'pending', 'later', 3, 1800000100000000000, NULL,
        '{"state":{"status":"pending","not_before":"2027-01-15T08:01:40Z","last_error":"overloaded"},"retry_count":1,"lease_count":1,"usage":{"cost_usd":null,"duration_ms":5}}'),
    (4, '01956b3c-0000-7000-8000-000000000004', 'bob', '01956b3c-0000-7000-8000-0000000000aa', 'cron', 0, 1, NULL, 1800000002000000000,
        'pending', 'ready', 4, NULL, NULL,
        '{"state":{"status":"pending","not_before":null,"last_error":null},"retry_count":0,"lease_count":0,"usage":{"cost_usd":null,"duration_ms":0}}');
INSERT INTO job_specs VALUES
    (2, 'say hello', '{"prompt":"","model":"opus","max_budget_usd":0.75,"allowed_tools":["Read"],"tags":["night"],"output_dest":{"type":"redis"},"source":"api","priority":5,"timeout_secs":60,"workspace_id":null,"working_dir":"src"}'),
    (3, 'fix the bug', '{"prompt":"","model":null,"max_budget_usd":null,"allowed_tools":null,"tags":[],"output_dest":{"type":"redis"},"source":"webhook","priority":9,"timeout_secs":null,"workspace_id":"01956b3c-0000-7000-8000-0000000000aa","working_dir":null}'),
    (4, 'sweep', '{"prompt":"","model":null,"max_budget_usd":null,"allowed_tools":null,"tags":[],"output_dest":{"type":"redis"},"source":"cron","priority":0,"timeout_secs":null,"workspace_id":"01956b3c-0000-7000-8000-0000000000aa","working_dir":null}');
INSERT INTO job_results VALUES
    (2, 1800000060000000000, '{"text":"hello","session_id":"s","num_turns":2,"commit":null,"note":null}');
INSERT INTO job_tags VALUES ('night', 2);
INSERT INTO job_totals VALUES
    ('all', '', 'completed', 1), ('all', '', 'pending', 2),
    ('owner', 'alice', 'completed', 1), ('owner', 'bob', 'pending', 2),
    ('source', 'api', 'completed', 1), ('source', 'cron', 'pending', 1), ('source', 'webhook', 'pending', 1),
    ('tag', 'night', 'completed', 1), ('workspace', '01956b3c-0000-7000-8000-0000000000aa', 'pending', 2);
INSERT INTO job_groups VALUES
    ('', 'alice', '', 'api', 'completed', 1), ('night', 'alice', '', 'api', 'completed', 1),
    ('', 'bob', '01956b3c-0000-7000-8000-0000000000aa', 'webhook', 'pending', 1),
    ('', 'bob', '01956b3c-0000-7000-8000-0000000000aa', 'cron', 'pending', 1);
INSERT INTO streams VALUES (1, 'log/01956b3c-0000-7000-8000-000000000002', 5);
INSERT INTO records VALUES (1, 4, 1800000050000000000, x'68656c'), (1, 5, 1800000050000000000, x'6c6f');
PRAGMA application_id = 1131176311;
PRAGMA user_version = 1;
