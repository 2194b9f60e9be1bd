-- Durable positions in the stream.

-- "position" is the last seq that was dealt with: it never goes back. "holder" is the session that follows the stream under
-- this name until "expires", in milliseconds since 1970 UTC; both are null when there is none.
create table kv_consumer (
    name text primary key not null,
    position integer not null,
    holder text,
    expires integer
);
