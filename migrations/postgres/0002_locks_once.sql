-- Locks, and the outcomes of writes that carry an id of their own.

-- "fence" is the last token that was given: it grows with every grant of any lock, for ever. "lock_seq" counts grants and
-- releases, so that daemons with waiters see each other's.
alter table kv_meta add column fence bigint not null default 0;
alter table kv_meta add column lock_seq bigint not null default 0;

-- A released lock has no row; one that expired keeps its row, and so its fence, until the next grant.
create table kv_lock (
    name text collate "C" primary key not null,
    owner text not null,
    fence bigint not null,
    expires bigint not null
);

-- "request" tells a repeat from another request that uses the same id; "outcome" is what the first one was told.
create table kv_once (
    id text collate "C" primary key not null,
    request text not null,
    outcome text not null,
    time bigint not null
);

create index kv_once_time on kv_once (time);
