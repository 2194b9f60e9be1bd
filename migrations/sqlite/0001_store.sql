-- The store, its head, its records and its stream. These tables belong to kv: read them as you like, write only
-- through kv, and add no triggers.

-- One row. "head" is the last seq of the stream: the plan of each batch numbers from it, so numbers have no holes.
create table kv_meta (
    one integer primary key check (one = 1),
    store_id text not null,
    epoch text not null,
    head integer not null,
    first integer not null,
    last_ms integer not null
);

-- Text is compared bytewise (collation BINARY). Values are the exact text; times are milliseconds since 1970 UTC.
create table kv_record (
    "key" text primary key not null,
    version integer not null,
    revision integer not null,
    type text,
    created integer not null,
    updated integer not null,
    expires integer,
    value text not null
);

create index kv_record_type on kv_record (type, "key") where type is not null;

create table kv_stream (
    seq integer primary key,
    tx integer not null,
    tx_end integer not null,
    action text not null,
    time integer not null,
    "key" text not null,
    version integer not null,
    revision integer not null,
    type text,
    created integer not null,
    updated integer not null,
    value text not null
);
