-- The store, its head, its records and its stream. These tables belong to kv: read them as you like, write only
-- through kv, and add no triggers.

-- One row. "head" is the last seq of the stream: the plan of each batch numbers from it, so numbers have no holes. Every batch
-- locks it first.
create table kv_meta (
    one bigint primary key check (one = 1),
    store_id text not null,
    epoch text not null,
    head bigint not null,
    first bigint not null,
    last_ms bigint not null
);

-- Text is compared bytewise. Values are the exact text; times are milliseconds since 1970 UTC.
create table kv_record (
    "key" text collate "C" primary key not null,
    version bigint not null,
    revision bigint not null,
    type text collate "C",
    created bigint not null,
    updated bigint not null,
    expires bigint,
    value json not null
);

create index kv_record_type on kv_record (type, "key") where type is not null;

create table kv_stream (
    seq bigint primary key,
    tx bigint not null,
    tx_end bigint not null,
    action text not null,
    time bigint not null,
    "key" text collate "C" not null,
    version bigint not null,
    revision bigint not null,
    type text collate "C",
    created bigint not null,
    updated bigint not null,
    value json not null
);
