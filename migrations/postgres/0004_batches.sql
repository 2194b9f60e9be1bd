-- What tells whether a batch was committed, after its answer was lost.

-- "batches" counts the batches that wrote: also those that moved no head, as the ones of locks.
alter table kv_meta add column batches bigint not null default 0;

-- The id of each batch, for a day.
create table kv_batch (
    id text collate "C" primary key not null,
    time bigint not null
);

create index kv_batch_time on kv_batch (time);
