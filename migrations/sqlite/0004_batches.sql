-- What tells whether a batch was committed, after its answer was lost. On SQLite no answer is lost: the table stays empty and the
-- count 0. They are there because the steps have the same numbers and the same tables on every engine.

-- "batches" counts the batches that wrote: also those that moved no head, as the ones of locks.
alter table kv_meta add column batches integer not null default 0;

-- The id of each batch, for a day.
create table kv_batch (
    id text primary key not null,
    time integer not null
);

create index kv_batch_time on kv_batch (time);
