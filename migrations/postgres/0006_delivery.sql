-- What consumers want, and how much of the stream is kept.

-- Which changes the consumer wants: those that match each of the three that is not null. "filtered" is 0 where nobody has
-- told that yet: a commit without a filter made the consumer, or an older version of kv.
alter table kv_consumer add column filtered bigint not null default 0;
alter table kv_consumer add column only_key text;
alter table kv_consumer add column only_prefix text;
alter table kv_consumer add column only_type text;

-- Changes are trimmed that are older than "retain_ms" milliseconds, and all but the newest "retain_count"; null = no such
-- bound. With "retain_unread" 1 a change that a consumer has not dealt with is kept in any case.
alter table kv_meta add column retain_ms bigint;
alter table kv_meta add column retain_count bigint;
alter table kv_meta add column retain_unread bigint not null default 0;
