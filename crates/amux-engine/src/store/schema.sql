-- The first shape of the store.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- The one order. Rows leave from the old end only, and only when `base` has taken them in.
CREATE TABLE event (
    seq    INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    actor  TEXT NOT NULL,
    -- the actor as people knew it then
    actor_name TEXT NOT NULL,
    cause  INTEGER,
    cmd_id BLOB NOT NULL,
    topic  TEXT NOT NULL,
    type   TEXT NOT NULL,
    v      INTEGER NOT NULL,
    body   TEXT NOT NULL
);

-- What every command came to, so that a retry is free.
CREATE TABLE receipt (
    cmd_id  BLOB PRIMARY KEY,
    actor   TEXT NOT NULL,
    digest  BLOB NOT NULL,
    outcome TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX receipt_by_age ON receipt (at);

-- Wishes: rows of desired state, carried out by whoever runs processes.
CREATE TABLE outbox (
    id          INTEGER PRIMARY KEY,
    seq         INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    agent       TEXT NOT NULL,
    run         INTEGER NOT NULL,
    body        TEXT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER
);
CREATE UNIQUE INDEX outbox_open ON outbox (kind, agent, run) WHERE state = 'open';

-- Claims on things that only one may hold at a time.
CREATE TABLE lease (
    name    TEXT PRIMARY KEY,
    holder  TEXT NOT NULL,
    until   INTEGER NOT NULL
) WITHOUT ROWID;

-- The fold of everything the log has forgotten: base + event = the projections.
CREATE TABLE base (
    tbl  TEXT NOT NULL,
    id   TEXT NOT NULL,
    rev  INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tbl, id)
) WITHOUT ROWID;
