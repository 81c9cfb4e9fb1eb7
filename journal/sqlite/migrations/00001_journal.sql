-- Tenant stands first in every key. Tenants and sessions are numbered, so that
-- the keys that every commit touches are small; names are kept once.

-- +goose Up
CREATE TABLE tenant (
	no   INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE
) STRICT;

-- The head of a session: what a commit is compared with, who owns it, when it
-- is due, and its row in lists. One UPDATE writes all of it.
CREATE TABLE head (
	no             INTEGER PRIMARY KEY,
	tenant         INTEGER NOT NULL,
	session        TEXT NOT NULL,
	epoch          INTEGER NOT NULL,
	next           INTEGER NOT NULL,           -- sequence number of the next event
	lease          TEXT NOT NULL,              -- of the owner; '': none
	wake_at        INTEGER NOT NULL,           -- earliest timer, nanoseconds since 1970; 0: none
	busy           INTEGER NOT NULL,           -- effects are open
	fold           INTEGER NOT NULL,           -- lowest fold version that can read the history
	status         TEXT NOT NULL,
	agent          TEXT NOT NULL,
	cost           INTEGER NOT NULL,           -- nano-dollars
	reserved       INTEGER NOT NULL,           -- nano-dollars
	input          INTEGER NOT NULL,           -- tokens, as in cairn.Usage
	cache_read     INTEGER NOT NULL,
	cache_write_5m INTEGER NOT NULL,
	cache_write_1h INTEGER NOT NULL,
	output         INTEGER NOT NULL,
	reasoning      INTEGER NOT NULL,
	lineage        BLOB,                       -- JSON of the inherited ranges
	summary        BLOB NOT NULL,              -- JSON of cairn.Summary
	UNIQUE (tenant, session)
) STRICT;

CREATE INDEX head_list ON head (tenant);       -- and within it by number

-- These are for the scheduler, which looks at all tenants. They hold no row of a
-- session that is owned and working, so that a commit does not touch them.
CREATE INDEX head_owned ON head (lease) WHERE lease <> '';
CREATE INDEX head_busy ON head (no) WHERE busy = 1 AND lease = '';
CREATE INDEX head_wake ON head (wake_at) WHERE wake_at > 0 AND lease = '';

-- The log. It is only ever appended to at the end of its tenant: clustered by
-- session, every commit would write a page of its own.
CREATE TABLE frame (
	place   INTEGER PRIMARY KEY,               -- tenant.no << 40 | position
	tenant  INTEGER NOT NULL,
	session INTEGER NOT NULL,                  -- head.no
	first   INTEGER NOT NULL,                  -- sequence number of the first event
	count   INTEGER NOT NULL,
	data    BLOB,
	UNIQUE (tenant, session, first)
) STRICT;

-- Every input that ever arrived, so that a duplicate is recognised for ever.
CREATE TABLE input (
	tenant  INTEGER NOT NULL,
	session INTEGER NOT NULL,
	id      TEXT NOT NULL,
	digest  BLOB NOT NULL,
	PRIMARY KEY (tenant, session, id)
) STRICT, WITHOUT ROWID;

-- Inputs not yet taken.
CREATE TABLE inbox (
	tenant  INTEGER NOT NULL,
	session INTEGER NOT NULL,
	id      TEXT NOT NULL,
	pos     INTEGER NOT NULL,                  -- order of arrival
	at      INTEGER NOT NULL,
	digest  BLOB NOT NULL,
	data    BLOB,
	PRIMARY KEY (tenant, session, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE ask (
	no      INTEGER PRIMARY KEY,               -- order of opening
	tenant  INTEGER NOT NULL,
	session INTEGER NOT NULL,
	id      TEXT NOT NULL,
	status  TEXT NOT NULL,
	data    BLOB NOT NULL,            -- JSON of cairn.Ask
	by_kind TEXT NOT NULL,
	by_id   TEXT NOT NULL,
	decided INTEGER NOT NULL,
	UNIQUE (tenant, id)
) STRICT;
CREATE INDEX ask_session ON ask (tenant, session);
CREATE INDEX ask_open ON ask (tenant) WHERE status = 'open';

CREATE TABLE budget (
	tenant INTEGER NOT NULL,
	id     TEXT NOT NULL,
	drawn  INTEGER NOT NULL,                   -- nano-dollars
	PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE draw (
	tenant INTEGER NOT NULL,
	id     TEXT NOT NULL,
	digest BLOB NOT NULL,
	PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE agent_version (
	tenant  INTEGER NOT NULL,
	digest  TEXT NOT NULL,
	name    TEXT NOT NULL,
	created INTEGER NOT NULL,
	data    BLOB,
	PRIMARY KEY (tenant, digest)
) STRICT;

-- The current version of each name.
CREATE TABLE agent (
	tenant INTEGER NOT NULL,
	name   TEXT NOT NULL,
	digest TEXT NOT NULL,
	PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

-- A cache: any row may be deleted.
CREATE TABLE snapshot (
	tenant  INTEGER NOT NULL,
	session INTEGER NOT NULL,
	fold    INTEGER NOT NULL,
	seq     INTEGER NOT NULL,
	data    BLOB,
	PRIMARY KEY (tenant, session, fold)
) STRICT;
