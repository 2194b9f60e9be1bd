//! Every bound of the program, with its unit and its reason.
//!
//! No other file holds a number that limits something (`tests/it/tidy.rs` looks for them): a reader finds here what can be
//! refused, and a test can hold one case for each.

use std::ops::RangeInclusive;
use std::time::Duration;

#[cfg(feature = "cli")]
mod cli;
mod expiry;
mod lock_guard;
mod numbers;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "rqlite")]
mod rqlite;
#[cfg(feature = "sqlite")]
mod sqlite;

// Those of the program alone.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub use self::cli::*;
pub use self::expiry::*;
pub use self::lock_guard::*;
pub use self::numbers::*;
#[cfg(feature = "postgres")]
pub use self::postgres::*;
#[cfg(feature = "rqlite")]
pub use self::rqlite::*;
#[cfg(feature = "sqlite")]
pub use self::sqlite::*;

/// The most bytes of a key, in UTF-8; the least is 1. Such a key fits a B-tree page of every engine (rows of an index of
/// PostgreSQL end at about 2.7 KB).
pub const KEY_BYTES: usize = 1_024;

/// The largest seq, version, fencing token or other count: 2^53 - 1, up to which every reader of JSON is exact. At a million
/// writes a second it is reached after 285 years. A larger number in a database is damage.
pub const COUNT_MAX: u64 = (1 << 53) - 1;

/// The largest version that an import may give to a record: its key can be written as often again.
pub const IMPORTED_VERSION: u64 = COUNT_MAX / 2;

/// The times that a store can hold, in milliseconds since 1970-01-01T00:00:00Z: those that RFC 3339 can write, from the year
/// 0 to 9999-12-30. On the last day of that year some time zones are in the year 10,000 already.
pub const TIME_MS: RangeInclusive<i64> = -62_167_219_200_000..=253_402_207_200_999;

/// The most bytes of the name of a type, lock, owner or consumer; the least is 1.
pub const NAME_BYTES: usize = 256;

/// The most bytes of a value, as minified JSON text.
pub const VALUE_BYTES: usize = 8 * 1_024 * 1_024;

/// The most levels to which arrays and objects of a value nest, so that a recursive reader of values cannot run out of
/// stack.
pub const VALUE_DEPTH: usize = 100;

/// The most records in one reply.
pub const PAGE_RECORDS: usize = 1_000;

/// The bytes of keys and values after which a reply ends: with the record that exceeds them.
pub const PAGE_BYTES: usize = 1_024 * 1_024;

/// The least time between two times at which a process applies the retention of the stream.
pub const RETENTION_INTERVAL: Duration = Duration::from_secs(10);

/// The most changes that one filtered page of the stream examines. So a filter that matches little costs no more than one
/// that matches everything.
pub const STREAM_SCAN_RECORDS: u64 = 10_000;

/// The bytes of changes that a subscription is sent at once: about as many as a fresh socket takes without being read, so
/// that the daemon holds none for a subscription whose client does not read.
pub const EVENTS_BYTES: usize = 64 * 1_024;

/// The bytes that a change counts for in addition to its key and value when it is sent.
pub const EVENT_HEAD_BYTES: usize = 256;

/// The most bytes of events that the daemon holds at once for sockets which have taken only a part of them.
pub const EVENTS_HELD_BYTES: usize = 24 * 1_024 * 1_024;

/// The most events larger than twice [`EVENTS_BYTES`] that the daemon holds at once for sockets; each may have up to
/// [`LINE_BYTES`].
pub const LARGE_EVENTS: usize = 4;

/// The most subscriptions, requests that wait for a lock, and locks that end with their connection, together in the whole
/// daemon.
pub const ATTACHED: usize = 65_536;

/// The most bytes of recent changes that are kept for all subscriptions that are up to date. A single page may be larger,
/// when it holds one change.
pub const TAIL_BYTES: usize = 4 * 1_024 * 1_024;

/// The most pages of recent changes that are kept for all subscriptions that are up to date.
pub const TAIL_PAGES: usize = 64;

/// The most pages that are read at once for subscriptions that are behind the kept changes.
pub const REPLAY_READS: usize = 2;

/// The time without an event after which a subscription is sent its progress.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);

/// The time after which a consumer is sent its progress when its filter has passed over changes that were committed since.
pub const CONSUMER_PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Interval at which a store checks whether another process has committed, while a subscription or a waiting request depends
/// on that.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Interval at which the daemon checks whether a client that has closed its sending side still receives events.
pub const GONE_INTERVAL: Duration = Duration::from_secs(1);

/// The most locks of one connection that are released when it ends.
pub const SESSION_LOCKS: usize = 1_024;

/// The most subscriptions of one connection.
pub const SUBSCRIPTIONS: usize = 256;

/// The most bytes of a value that is read together with those of other requests; a larger one is read by itself. So a batch
/// of 1,000 reads holds at most 16 MiB.
pub const INLINE_VALUE_BYTES: usize = 16 * 1_024;

/// The most keys in one `get` or `delete`.
pub const KEYS_PER_REQUEST: usize = 1_000;

/// The most mutations in one `mutate`.
pub const MUTATIONS_PER_REQUEST: usize = 1_000;

/// The most bytes of keys, values and patches in one `mutate` together: so it fits a line of [`LINE_BYTES`] however its text
/// is escaped.
pub const MUTATE_BYTES: usize = 12 * 1_024 * 1_024;

/// The most records that the prefix and range deletes of one `mutate` pass over and remove together, because the mutations
/// behind them see what is left. A delete by itself has no such bound.
pub const MUTATE_RANGE_RECORDS: u64 = 10_000;

/// The most records that are loaded for the prefix and range deletes of one `mutate` together; a record counts as often as
/// it is loaded.
pub const MUTATE_LOADED_RECORDS: u64 = 50_000;

/// The most records that one transaction of a delete of a range removes: about a tenth of a second, for which other writes
/// wait. A larger range is deleted in several.
pub const DELETE_SLICE_RECORDS: u64 = 20_000;

/// The most bytes of the id of a write that is applied once; the least is 1.
pub const ONCE_BYTES: usize = 64;

/// How long the outcome of a write that is applied once is kept, in milliseconds.
pub const ONCE_KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// The longest duration of a lock without a refresh, in milliseconds: 100 years, so that every expiry is a date.
pub const LOCK_DURATION_MS: u64 = 100 * 365 * 24 * 60 * 60 * 1_000;

/// How long a lock is remembered after its expiry when no other owner acquires it, in milliseconds: its last owner may still
/// refresh it, or write with its fencing token. After that it counts as released.
pub const LOCK_KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// The time after its expiry at which the row of such a lock may be removed, in milliseconds: so much longer than
/// [`LOCK_KEPT_MS`] that a clock which is set back by less than a day makes no difference.
pub const LOCK_ROW_KEPT_MS: i64 = 2 * LOCK_KEPT_MS;

/// How many rows of locks a batch that acquires a lock examines, to remove those that are not remembered any more: more than
/// it can add, and few enough to cost nothing.
pub const LOCK_SWEEP_ROWS: usize = 16;

/// How long a session holds a consumer without renewing its lease.
pub const CONSUMER_LEASE: Duration = Duration::from_secs(10);

/// Interval at which a session renews its lease on a consumer: a third of [`CONSUMER_LEASE`], so that two failed renewals
/// lose nothing.
pub const CONSUMER_RENEWAL: Duration = Duration::from_millis(CONSUMER_LEASE.as_millis() as u64 / 3);

/// The longest time for which a request that waits for a lock or consumer sleeps before it compares the expiry with the
/// clock again: clocks are set, and stand still while a machine sleeps.
pub const LOCK_LOOK_MAX: Duration = Duration::from_secs(1);

/// The shortest time between two reads of the expiries that requests wait for, unless a lock changes.
pub const LOCK_LOOK_MIN: Duration = Duration::from_millis(1);

/// The rows that a check reads before it tells its progress.
pub const CHECK_STEP_ROWS: u64 = 1_000;

/// The most requests in one batch.
pub const BATCH_REQUESTS: usize = 1_000;

/// The most batches of point reads that a daemon has under way, which leave a connection of the store to other reads. What
/// comes meanwhile is one batch more.
pub const POINT_BATCHES: usize = 3;

/// The most bytes of requests in one batch; a single request may be larger.
pub const BATCH_BYTES: usize = 8 * 1_024 * 1_024;

/// The most bytes of stored values that are loaded for the patches of one batch; the requests behind them go into the next
/// one.
pub const BATCH_LOADED_BYTES: usize = 32 * 1_024 * 1_024;

/// The bytes of written values after which a batch ends. The patches of one `mutate` may write no more than that.
pub const BATCH_WRITTEN_BYTES: usize = 32 * 1_024 * 1_024;

/// The work of patches after which a batch ends, which the patches of one `mutate` may not exceed, nor one patch by more
/// than it takes to read it and its value. A unit is about a nanosecond, so this is half a second, for which other writes
/// wait.
pub const BATCH_WORK: u64 = 1 << 29;

/// How many times the work of reading a JSON Patch and its value the operations of the patch may cost.
pub const PATCH_WORK_FACTOR: u64 = 16;

/// The work that the operations of one JSON Patch may always cost, in the unit of [`BATCH_WORK`]: that of a thousand inserts
/// in front of 10,000 elements, for example.
pub const PATCH_WORK_MIN: u64 = 1 << 27;

/// The work of reading or copying an element of an array or a member of an object, in the unit of [`BATCH_WORK`]; that of a
/// byte is 1.
pub const WORK_OF_ELEMENT: u64 = 128;

/// The work of passing over an element or member, or of shifting it to make room, in the unit of [`BATCH_WORK`].
pub const WORK_OF_PASSED_ELEMENT: u64 = 8;

/// The difference between the clocks of this machine and of the leader of which `status` warns, in milliseconds.
pub const CLOCK_DIFFERENCE_MS: i64 = 1_000;

/// How long the id of a batch is kept of a daemon that is gone, in milliseconds: where an answer can be lost.
pub const BATCH_ID_KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// The most ids of batches that one batch removes.
pub const BATCH_IDS_FORGOTTEN: u64 = 100;

/// How often a batch is planned in all, when other processes commit between its reads and its commit.
pub const STALE_TRIES: usize = 8;

/// The pause before a batch is planned the second time; each further pause is twice as long, and has jitter.
pub const STALE_PAUSE_MIN: Duration = Duration::from_millis(5);

/// The longest pause before a batch is planned again, without its jitter.
pub const STALE_PAUSE_MAX: Duration = Duration::from_millis(200);

/// How far the time of a record may be ahead of the clock after the clock was set back, in milliseconds.
pub const CLOCK_LEAD_MS: i64 = 1_000;

/// The most records that one transaction removes after a trim, so that no write waits for long behind it.
pub const SWEEP_RECORDS: u64 = 5_000;

/// The bytes of keys and values after which a transaction that removes records after a trim ends: the pages of a large value
/// are freed one by one.
pub const SWEEP_BYTES: u64 = 8 * 1_024 * 1_024;

/// How long a store that is being closed goes on removing what was trimmed; the rest is removed when it is opened again.
pub const SWEEP_AT_CLOSE: Duration = Duration::from_millis(400);

/// The most expired outcomes of writes applied once that one batch removes: more than a batch adds, unless it is full.
pub const ONCE_FORGOTTEN: u64 = 1_000;

/// The most plain requests of a connection that are sent on together, so that other connections have their turn.
pub const GROUP_REQUESTS: usize = 128;

/// The bytes of plain requests and of what their replies may take after which they are sent on together.
pub const GROUP_BYTES: usize = 1_024 * 1_024;

/// The most bytes of a line of the protocol, without its newline.
pub const LINE_BYTES: usize = 16 * 1_024 * 1_024;

/// The most fields of a request, known or unknown.
pub const FIELDS_PER_REQUEST: usize = 64;

/// The most requests of one connection that are read and not yet answered.
pub const CONNECTION_REQUESTS: usize = 1_024;

/// The most bytes of a small request or reply; a larger one takes one of a few places in the daemon ([`LARGE_LINES`],
/// [`LARGE_REPLIES`]).
pub const SMALL_MESSAGE_BYTES: usize = 64 * 1_024;

/// The most requests larger than [`SMALL_MESSAGE_BYTES`] that the daemon holds at once; each may have up to [`LINE_BYTES`].
pub const LARGE_LINES: usize = 8;

/// The most replies larger than [`SMALL_MESSAGE_BYTES`] that the daemon holds at once; each may have up to [`LINE_BYTES`].
pub const LARGE_REPLIES: usize = 8;

/// The most bytes of small requests in flight in the whole daemon, together with what their replies may take.
pub const IN_FLIGHT_BYTES: usize = 128 * 1_024 * 1_024;

/// The least bytes that a request in flight counts for, so that the number of small ones is bounded too.
pub const REQUEST_WEIGHT_BYTES: usize = 1_024;

/// The bytes of lines that one end of a connection gathers before it waits until the socket has taken them.
pub const REPLY_BUFFER_BYTES: usize = 64 * 1_024;

/// The most connections that a daemon serves at once; a further one is answered `too_many_connections` and closed.
pub const CONNECTIONS: usize = 4_096;

/// The most connections that a daemon serves at once where the limit on open files (`ulimit -n`) was raised far enough.
pub const CONNECTIONS_RAISED: usize = 16_384;

/// The file descriptors that a daemon needs in addition to those of its connections: for the database, the log, the socket
/// and locks.
pub const OWN_DESCRIPTORS: usize = 64;

/// The most bytes to which the stack of the daemon's first thread grows: what systems usually allow, so that recursion goes
/// equally deep whichever process has started the daemon.
pub const STACK_BYTES: u64 = 8 * 1_024 * 1_024;

/// The time after which a connection is closed when its socket takes no byte of a reply, or when a long line stops in the
/// middle.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The time that a client has to take a reply, or to send the rest of a long line, while other clients wait for memory.
pub const SHORTAGE_TIMEOUT: Duration = Duration::from_secs(1);

/// Interval at which a connection that waits for its client checks whether other clients wait for memory.
pub const SHORTAGE_INTERVAL: Duration = Duration::from_millis(100);

/// How long the daemon keeps free memory for the next requests, in milliseconds: it returns to the system bit by bit.
pub const MEMORY_KEPT_MS: isize = 1_000;

/// The bytes that are read from a connection at once, into a buffer that all connections share.
pub const READ_BUFFER_BYTES: usize = 64 * 1_024;

/// The most bytes that a file with a connection string may have: a file of another kind is not read into memory.
pub const CONNECTION_FILE_BYTES: u64 = 64 * 1_024;

/// The time without any connection after which a daemon ends, unless `--idle-timeout` sets another one.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// The time without any connection after which a daemon that a command has started ends when it finds no store, or none that
/// it can open: the path may have been a typing error.
pub const STORELESS_IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// Percentiles and rates of `status` are those of the last while, which is as long as this or up to twice as long.
pub const RECENT: Duration = Duration::from_secs(60);

/// The largest number that is told apart where times and sizes are measured: as microseconds it is longer than a minute.
pub const MEASURED_MAX: u64 = 1 << 26;

/// `kv doctor` warns when a process may open fewer files than this: each connection takes one.
pub const OPEN_FILES_LOW: u64 = 256;

/// `kv doctor` warns when the disk of the store has less room than this.
pub const DISK_FREE_LOW_BYTES: u64 = 64 * 1_024 * 1_024;

/// How many lines of the log are in a report of `kv doctor`.
pub const REPORT_LOG_LINES: usize = 100;

/// The shortest pause between two looks of `kv daemon status --watch`.
pub const STATUS_PAUSE_MIN: Duration = Duration::from_millis(100);

/// The most subscriptions that `kv daemon status` shows to people.
pub const SUBSCRIPTIONS_SHOWN: usize = 10;

/// The most subscriptions that `status` lists: those that are farthest behind.
pub const SUBSCRIPTIONS_TOLD: usize = 100;

/// The most connected processes that `status` names: enough for people.
pub const PROCESSES_TOLD: usize = 100;

/// How long a client waits until a daemon that it has started reports that it is ready, or why it is not; and how long it
/// tries to connect to a daemon that is being replaced.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a daemon that starts waits for the life lock of one that is just ending.
pub const LIFE_LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a lock file is opened again when its path leads to another file by the time that its lock was taken.
pub const LOCK_FILE_TRIES: u32 = 8;

/// Pause before a lock file that another process has locked is tried again.
pub const LOCK_FILE_PAUSE: Duration = Duration::from_millis(5);

/// The most bytes of a lock file that are read: a pid or the path of a socket is far shorter.
pub const LOCK_FILE_BYTES: u64 = 4_096;

/// How long a daemon that starts waits for the lock of its store while the daemon that has it cannot be reached; then it
/// serves the store too. Most such daemons are ending, or bind their socket anew ([`WATCH_INTERVAL`]).
pub const STORE_LOCK_TIMEOUT: Duration = Duration::from_millis(800);

/// How long a daemon that ends waits for one connection to take its replies, before it releases what belongs to the
/// connection. [`DRAIN_TIMEOUT`] covers that as well.
pub const DRAIN_CONNECTION_TIMEOUT: Duration = Duration::from_millis(600);

/// How long a daemon that was told to end, by SIGTERM for example, answers the requests in flight.
pub const DRAIN_TIMEOUT: Duration = Duration::from_millis(900);

/// How long a daemon that ends waits for its store to be closed after that: what SQLite's log holds is written back to the
/// file, or a server answers what is under way.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a client that has told a daemon to end, as `kv daemon stop` does, waits for the end of its process.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client waits for the reply to a call: longer than any time-out of an engine, so that an answer is not lost.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client waits for what takes as long as the store is large: compacting or restoring it, and deleting a range.
pub const LONG_CALL_TIMEOUT: Duration = Duration::from_millis(TIMEOUT_MS);

/// How often a client sends a call in all when daemons end before they take it, or when the call may be repeated: often
/// enough for several daemons that are stopped one after the other.
pub const CALL_TRIES: u32 = 20;

/// The number of daemons in a row that end at the same call without an answer, after which the call counts as the reason: a
/// kill hits one, or by bad luck two.
pub const DEATHS: u32 = 3;

/// How often one connect starts a daemon that ends before it answers `hello`: another process may be stopping daemons at the
/// same time.
pub const STARTS: u32 = 5;

/// The time after which a daemon that was sent a call, and ends, did not die of the call.
pub const DEATH_AFTER: Duration = Duration::from_secs(1);

/// How long a subscription whose daemon has ended tries to go on with the next one before it fails.
pub const RESUME_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a subscription whose daemon has ended waits for another process to start the next one, before it starts one
/// itself. Also how long a client waits to see whether a daemon that failed a request closes the connection.
pub const RESUME_PATIENCE: Duration = Duration::from_secs(1);

/// Pause before a subscription, or a request that waits for a lock, tries again to go on with the next daemon.
pub const RESUME_INTERVAL: Duration = Duration::from_millis(100);

/// How long a client waits until a daemon accepts its connection, and then until it answers `hello`.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long `kv daemon list` and `kv daemon stop --all` wait for each daemon to tell its status; one that takes longer is
/// shown as not answering.
pub const LIST_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the reply to `hello` waits for the ids of the store, which are left out after that; shorter than
/// [`CONNECT_TIMEOUT`], for which a client waits.
pub const HELLO_STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest time-out or wait that a request may ask for, in milliseconds.
pub const TIMEOUT_MS: u64 = 24 * 60 * 60 * 1_000;

/// The most bytes of the path of a Unix socket on this system, without the final NUL (`sun_path`, unix(7)).
pub const SOCKET_PATH_BYTES: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// The most bytes of a line between a client and the daemon that it starts.
pub const HANDOVER_BYTES: u64 = 64 * 1_024;

/// The bytes after which the log of a daemon is started anew; the full file is kept until the next one is full.
pub const LOG_BYTES: u64 = 1_024 * 1_024;

/// Lines at the end of a daemon's log that are quoted when the daemon did not start.
pub const LOG_LINES_TOLD: usize = 3;

/// The time in which an event that repeats is logged once.
pub const LOG_REPEAT_INTERVAL: Duration = Duration::from_secs(10);

/// The most different events that are logged within [`LOG_REPEAT_INTERVAL`] of each other; further ones are not logged, so
/// that a client cannot fill the log with ever new texts.
pub const LOG_REPEATS: usize = 64;

/// The time above which the commit of a batch is logged as slow: most take a few milliseconds.
pub const SLOW_COMMIT: Duration = Duration::from_secs(1);

/// Interval at which a daemon checks whether it is idle and whether its socket is still there.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// The same interval once no client was connected for [`QUIET_AFTER`]: a daemon that nobody uses hardly takes CPU.
pub const QUIET_WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// The time without any connection after which a daemon checks less often.
pub const QUIET_AFTER: Duration = Duration::from_secs(10);

/// How long the store of a daemon may take to answer the question of its watchdog before the service manager is not told that
/// the daemon works.
pub const WATCHDOG_ANSWER: Duration = Duration::from_secs(5);

/// How long of that a server behind the store may take. One that says nothing for longer counts as unavailable, which is an
/// answer: ending the daemon would not make the server answer.
pub const WATCHDOG_SERVER_ANSWER: Duration = Duration::from_secs(4);

/// How often a daemon asks its store, and tells the service manager, within the time after which the manager ends it.
pub const WATCHDOG_TIMES: u32 = 3;

/// The least time between two messages to the service manager about the number of clients.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Pause before a daemon that is out of file descriptors accepts a connection again.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Pause between two checks whether a daemon has ended, or has let go of its store.
pub const DRAIN_PAUSE: Duration = Duration::from_millis(5);

/// How long `kv lock run` waits for a program that was told to end, before it kills it.
pub const CHILD_GRACE: Duration = Duration::from_secs(5);

/// The time within which signals count as sent together: timeout(1) sends one to a process and to its group, and within this
/// time all of them have arrived.
pub const SIGNAL_GATHERING: Duration = Duration::from_millis(20);

/// How long a command waits for the process that tells which signals have reached its group. That process answers at once
/// unless it was itself stopped or killed.
pub const WITNESS_TIMEOUT: Duration = Duration::from_secs(1);

/// How often the process that tells which signals have reached the group is started before the command fails: a signal that
/// arrives first may end it.
pub const WITNESS_STARTS: u32 = 3;
