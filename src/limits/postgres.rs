//! What limits a store on a PostgreSQL server.

use std::time::Duration;

/// How long a server may take to let a connection in, unless `connect_timeout` sets another time.
pub const POSTGRES_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a statement waits for the lock of another writer before the request fails with `busy`; and how long a read waits
/// for a connection.
pub const POSTGRES_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server may take to tell what it is before `status` does without.
pub const POSTGRES_STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time of one statement on the server.
pub const POSTGRES_STATEMENT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a transaction of kv may do nothing before the server ends its connection: a daemon that was stopped in the middle
/// of a batch keeps every other writer waiting.
pub const POSTGRES_IDLE_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an engine waits for an answer of the server: longer than the server's own time-outs, which say more.
pub const POSTGRES_ANSWER_TIMEOUT: Duration = Duration::from_secs(22);

/// How long an engine tries to learn what became of a batch whose answer was lost.
pub const POSTGRES_LOOK_UP_TIMEOUT: Duration = Duration::from_secs(6);

/// How often a batch or a read is begun in all when its connection turns out to be lost before anything can have happened.
pub const POSTGRES_TRIES: usize = 3;

/// The pause behind a failed connect in which nobody tries again.
pub const POSTGRES_RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// Interval of the probes that notice a server that went away without a word.
pub const POSTGRES_KEEPALIVE: Duration = Duration::from_secs(30);

/// The most connections that read at the same time.
pub const POSTGRES_READERS: usize = 4;

/// How long a second connection that reads is kept when nobody needs it.
pub const POSTGRES_READER_IDLE: Duration = Duration::from_secs(30);

/// The bytes of rows that are read for nothing when a page is full, so that its connection can be kept.
pub const POSTGRES_DRAINED_BYTES: usize = 16 * 1_024 * 1_024;

/// Interval at which the head is read where notifications should tell of it: they are a hint, and can be lost.
pub const POSTGRES_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The most notifications that wait for somebody who wants to know.
pub const POSTGRES_NOTIFICATIONS: usize = 1_024;

/// The oldest server that is supported, as its `server_version_num` says it.
pub const POSTGRES_VERSION_MIN: u32 = 120_000;
