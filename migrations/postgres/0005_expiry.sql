-- Records that expire. "expires" of kv_record is the first millisecond since 1970 UTC at which the record is gone; null = it stays.

-- That of the record in the change.
alter table kv_stream add column expires bigint;

-- Finds what has expired, and what expires next.
create index kv_record_expires on kv_record (expires) where expires is not null;
