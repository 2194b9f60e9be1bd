-- Durable positions in the stream, and locks that are given back for who went away.

-- "position" is the last seq that was dealt with: it never goes back. "holder" is the session that follows the stream under
-- this name until "expires", in milliseconds since 1970 UTC; both are null when there is none.
create table kv_consumer (
    name text collate "C" primary key not null,
    position bigint not null,
    holder text,
    expires bigint
);

-- How often the grant was refreshed: tells what was granted to somebody who went away from what the same owner has refreshed
-- since.
alter table kv_lock add column refreshes bigint not null default 0;
