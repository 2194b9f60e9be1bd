//! Every bound of the program, with its unit and its reason.
//!
//! No other file holds a number that limits something (`tests/it/tidy.rs` looks for them): a reader finds here what can be
//! refused, and a test can hold one case for each.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A key is 1 to this many bytes of UTF-8: it fits a btree page of every engine (PostgreSQL's rows end at ~2.7 KB).
pub const KEY_BYTES: usize = 1_024;

/// Seqs, versions, fences and other counts end here: every reader of JSON is exact so far (2^53 - 1), and a million writes
/// a second take 285 years to it. A larger number in a database is damage.
pub const COUNT_MAX: u64 = (1 << 53) - 1;

/// The times that a store can hold, in milliseconds since 1970 UTC: those that RFC 3339 can write, from the year 0 to
/// 9999-12-30, where the time zones of the last day begin.
pub const TIME_MS: RangeInclusive<i64> = -62_167_219_200_000..=253_402_207_200_999;

/// Names of types, locks, owners and consumers are 1 to this many bytes.
pub const NAME_BYTES: usize = 256;

/// The largest value, in bytes of minified JSON text.
pub const VALUE_BYTES: usize = 8 * 1_024 * 1_024;

/// Arrays and objects nest at most this deep, so that every reader of a value can be recursive.
pub const VALUE_DEPTH: usize = 100;

/// The most records in one reply.
pub const PAGE_RECORDS: usize = 1_000;

/// A reply stops after the record that passes this many bytes of keys and values.
pub const PAGE_BYTES: usize = 1_024 * 1_024;

/// A filtered page of the stream looks at most at this many changes, so that a filter that matches little costs
/// no more than one that matches everything.
pub const STREAM_SCAN_RECORDS: u64 = 10_000;

/// A subscription is sent pieces of about this many bytes: as much as a fresh socket takes at once, so that one that is
/// not read holds nothing.
pub const EVENTS_BYTES: usize = 64 * 1_024;

/// What a change counts for besides its key and value when it is sent.
pub const EVENT_HEAD_BYTES: usize = 256;

/// Pieces that are held for sockets which took only a part of them, in bytes.
pub const EVENTS_HELD_BYTES: usize = 24 * 1_024 * 1_024;

/// Events larger than two pieces that are held at once for sockets, each up to [`LINE_BYTES`].
pub const LARGE_EVENTS: usize = 4;

/// Subscriptions, requests that wait for a lock, and locks of connections, in the whole daemon.
pub const ATTACHED: usize = 65_536;

/// The changes that were committed last and are shared by those who follow them, in bytes and in pages. One page may be
/// larger, when it holds one record.
pub const TAIL_BYTES: usize = 4 * 1_024 * 1_024;

/// See [`TAIL_BYTES`].
pub const TAIL_PAGES: usize = 64;

/// Pages that are read at once for subscriptions that are far behind.
pub const REPLAY_READS: usize = 2;

/// A subscription to which nothing was sent for this long is told how far it is.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);

/// A consumer that wants nothing of what was committed last is told so this soon.
pub const CONSUMER_PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is looked whether another process has committed, while somebody waits for that.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How often it is looked whether a client that ended its side is still there to be sent events.
pub const GONE_INTERVAL: Duration = Duration::from_secs(1);

/// The most locks of one connection that are released when it ends.
pub const SESSION_LOCKS: usize = 1_024;

/// The most subscriptions of one connection.
pub const SUBSCRIPTIONS: usize = 256;

/// Point reads that are batched together carry values up to this many bytes; a larger one is read by itself, so
/// that a batch of 1,000 keys holds at most 16 MiB.
pub const INLINE_VALUE_BYTES: usize = 16 * 1_024;

/// The most keys in one `get` or `delete`.
pub const KEYS_PER_REQUEST: usize = 1_000;

/// The most mutations in one `mutate`.
pub const MUTATIONS_PER_REQUEST: usize = 1_000;

/// The keys, values and patches of one `mutate` together, in bytes: so that it fits a line whichever way it comes.
pub const MUTATE_BYTES: usize = 12 * 1_024 * 1_024;

/// The deletes of prefixes and ranges of one `mutate` pass over and remove at most this many records together,
/// because its later mutations see what they left. Alone, such a delete has no bound.
pub const MUTATE_RANGE_RECORDS: u64 = 10_000;

/// The records that the range deletes of one `mutate` load together, each counted as often as it is loaded.
pub const MUTATE_LOADED_RECORDS: u64 = 50_000;

/// The id of a write that is applied once is 1 to this many bytes.
pub const ONCE_BYTES: usize = 64;

/// How long the outcome of a write that is applied once is kept, in milliseconds.
pub const ONCE_KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// The longest a lock can be held without a refresh, in milliseconds: 100 years, so that its expiry is a date.
pub const LOCK_DURATION_MS: u64 = 100 * 365 * 24 * 60 * 60 * 1_000;

/// How long a lock is remembered that expired and that nobody else acquired, in milliseconds: its last owner may still write
/// with its fence, or refresh it. After that it is as if it had been released.
pub const LOCK_KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// When the row of such a lock may be removed, in milliseconds after it expired: so much later that a clock which is set back
/// by less than a day makes no difference.
pub const LOCK_ROW_KEPT_MS: i64 = 2 * LOCK_KEPT_MS;

/// Rows of locks that a batch which acquires one looks at, to remove those that are over: more than it can add, and few enough
/// to cost nothing.
pub const LOCK_SWEEP_ROWS: usize = 16;

/// A session that follows the stream as a consumer is its holder for this long, in milliseconds, unless it renews that.
pub const CONSUMER_LEASE_MS: u64 = 10_000;

/// How often it does.
pub const CONSUMER_RENEWAL: Duration = Duration::from_millis(CONSUMER_LEASE_MS / 3);

/// The expiries of what is waited for are compared with the clock at least this often: clocks are set, and stand still while a
/// machine sleeps.
pub const LOCK_LOOK_MAX: Duration = Duration::from_secs(1);

/// The expiries of what is waited for are read at most this often, unless a lock changes.
pub const LOCK_LOOK_MIN: Duration = Duration::from_millis(1);

/// A batch gathers at most this many requests.
pub const BATCH_REQUESTS: usize = 1_000;

/// A batch gathers at most this many bytes of requests, and always at least one request.
pub const BATCH_BYTES: usize = 8 * 1_024 * 1_024;

/// The stored values that the patches of one batch load together, in bytes: the rest of the batch comes after it.
pub const BATCH_LOADED_BYTES: usize = 32 * 1_024 * 1_024;

/// A batch ends once the values that it writes are over this many bytes; the patches of one mutate write no more.
pub const BATCH_WRITTEN_BYTES: usize = 32 * 1_024 * 1_024;

/// A batch ends once its patches have cost this much work, and so do the patches of one mutate; one patch may cost this much
/// beyond reading it and its value. A unit is about a nanosecond: half a second, in which other writes wait.
pub const BATCH_WORK: u64 = 1 << 29;

/// The operations of one JSON Patch may cost this many times what reading the patch and the value costs.
pub const PATCH_WORK_FACTOR: u64 = 16;

/// The operations of one JSON Patch may always cost this much: a thousand inserts in front of 10,000 elements, say.
pub const PATCH_WORK_MIN: u64 = 1 << 27;

/// What an element of an array or a member of an object counts for when it is read or copied; a byte counts for one.
pub const WORK_OF_ELEMENT: u64 = 128;

/// What an element or member counts for when it is visited, or shifted to make room.
pub const WORK_OF_PASSED_ELEMENT: u64 = 8;

/// A batch whose requests and values are over this many bytes, or that holds a JSON Patch, is decided on a thread of its own:
/// merging 1 MiB takes milliseconds, in which a daemon would answer nobody.
pub const PLAN_ASIDE_BYTES: usize = 1_024 * 1_024;

/// Requests that wait for the batcher; a caller beyond that waits for a place.
pub const QUEUE_REQUESTS: usize = 4_096;

/// A record's time runs at most this far ahead of the clock after the clock was set back, in milliseconds.
pub const CLOCK_LEAD_MS: i64 = 1_000;

/// How long SQLite waits for another process's write transaction before the answer is `busy`.
pub const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Space on the disk that only deletes and trims may use, in bytes, or as much as the store takes where that is less: so
/// a small store can always be emptied, and a large one bit by bit.
pub const KEPT_BYTES: u64 = 4 * 1_024 * 1_024;

/// How long a writer that needs space waits for those who read the log.
pub const LOG_READERS_TIMEOUT: Duration = Duration::from_millis(200);

/// What was trimmed is removed in steps of at most this many records, so that no write waits for long behind one.
pub const SWEEP_RECORDS: u64 = 5_000;

/// And of about this many bytes of keys and values: the pages of a large value are freed one by one.
pub const SWEEP_BYTES: u64 = 8 * 1_024 * 1_024;

/// A store that is closed goes on removing what was trimmed for this long; the next one does the rest.
pub const SWEEP_AT_CLOSE: Duration = Duration::from_millis(400);

/// Outcomes of writes that are applied once which one batch forgets: more than it keeps, unless it is a full one.
pub const ONCE_FORGOTTEN: u64 = 1_000;

/// Where room is short, deletes are applied in so many steps of one transaction: the database grows by one step only,
/// because what one frees the next one uses.
pub const DELETE_STEPS: u64 = 100;

/// What a delete that makes the database grow must leave free besides, in bytes: for the pages between its records.
pub const GROWTH_MARGIN_BYTES: u64 = 128 * 1_024;

/// The longest path of a SQLite store, in bytes: SQLite's own bound (`MAX_PATHNAME`, 512) with what it appends.
pub const STORE_PATH_BYTES: usize = 504;

/// The longest name of a store's file, in bytes: file systems allow 255, with what stands behind it in the names of the
/// files beside it.
pub const STORE_NAME_BYTES: usize = 240;

/// A SQLite log that is longer than this shrinks to it when it begins anew, in bytes: as many pages as SQLite writes
/// back at once.
pub const SQLITE_LOG_BYTES: u64 = 4 * 1_024 * 1_024;

/// The number of checkpoints in a SQLite file is raised after so many rows: those make fewer than the 1,000 pages after which
/// SQLite writes the log back.
pub const CHECKPOINT_NUMBER_ROWS: usize = 100;

/// A request that finds the files of its store replaced waits this long for requests that are under way with the old ones.
pub const RETIRE_PATIENCE: Duration = Duration::from_millis(200);

/// A file that was written over while it was open is looked at once nobody has written to it for this long.
pub const WRITTEN_OVER_QUIET: Duration = Duration::from_millis(300);

/// A request waits this long for that.
pub const WRITTEN_OVER_PATIENCE: Duration = Duration::from_secs(1);

/// A file that looks as if it were not whole, or its log another one's, is looked at this often before it counts as that:
/// another process may be in the middle of a checkpoint.
pub const FILE_LOOKS: u32 = 3;

/// The pause between two of these looks: longer than a page takes to write, and short for a thread that others wait for.
pub const FILE_LOOK_PAUSE: Duration = Duration::from_millis(5);

/// Connections that read a SQLite file beside the one that writes.
pub const SQLITE_READERS: u32 = 4;

/// Pages that a backup copies before it tells how far it is and hears whether to go on: 256 KiB by SQLite's usual size.
pub const BACKUP_STEP_PAGES: i32 = 64;

/// How long a backup waits when SQLite is asked to wait.
pub const BACKUP_PAUSE: Duration = Duration::from_millis(10);

/// Findings of SQLite's own check of a file that are told; more say nothing new of a file that is so damaged.
pub const INTEGRITY_FINDINGS: u32 = 10_000;

/// Rows that a check looks at before it tells how far it is.
pub const CHECK_STEP_ROWS: u64 = 1_000;

/// What is copied at once of a backup that comes as a stream, in bytes.
pub const COPY_BYTES: usize = 256 * 1_024;

/// How long it is waited before it is looked again whether a store that is to be replaced is out of use.
pub const LET_GO_PAUSE: Duration = Duration::from_millis(10);

/// So many fencing tokens are passed over by a restore when the store that it replaces is too damaged to tell its last one:
/// more than any store gives, and far below the integers that every reader of JSON knows exactly.
pub const LOST_FENCES: i64 = 1_000_000_000_000;

/// The longest line of the protocol, in bytes without its newline.
pub const LINE_BYTES: usize = 16 * 1_024 * 1_024;

/// The most fields that a request can have, known or not.
pub const FIELDS_PER_REQUEST: usize = 64;

/// Requests of one connection that are read and not yet answered.
pub const CONNECTION_REQUESTS: usize = 1_024;

/// A request or reply up to this many bytes is a small one.
pub const SMALL_MESSAGE_BYTES: usize = 64 * 1_024;

/// Requests over that size that the daemon holds at once, each up to [`LINE_BYTES`].
pub const LARGE_LINES: usize = 8;

/// Replies over that size that the daemon holds at once, each up to [`LINE_BYTES`].
pub const LARGE_REPLIES: usize = 8;

/// Bytes of small requests in flight in the whole daemon, with what their replies may take.
pub const IN_FLIGHT_BYTES: usize = 128 * 1_024 * 1_024;

/// What a request in flight counts for at least, in bytes, so that many small ones are bounded too.
pub const REQUEST_WEIGHT_BYTES: usize = 1_024;

/// Bytes of replies that a connection holds back for a socket that does not take them.
pub const REPLY_BUFFER_BYTES: usize = 64 * 1_024;

/// Connections that are served at once; one more is told `too_many_connections` and closed.
pub const CONNECTIONS: usize = 4_096;

/// The same where the limit on open files (`ulimit -n`) was raised far enough.
pub const CONNECTIONS_RAISED: usize = 16_384;

/// Descriptors that the daemon needs besides its connections: the database, its log, the socket, locks.
pub const OWN_DESCRIPTORS: usize = 64;

/// The stack of the daemon's first thread grows to at most so many bytes: what systems usually allow, so that recursion
/// goes as deep whoever started the daemon.
pub const STACK_BYTES: u64 = 8 * 1_024 * 1_024;

/// A socket that takes no byte of a reply, or stops in the middle of a long line, for this long is closed.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// While others wait for memory, a client has this long to take a reply or to send the rest of a long line.
pub const SHORTAGE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often it is looked whether others wait for memory.
pub const SHORTAGE_INTERVAL: Duration = Duration::from_millis(100);

/// What a connection reads at once, in bytes: an idle one holds as much.
pub const READ_BUFFER_BYTES: usize = 4 * 1_024;

/// A daemon with no connection ends after this long, unless `--idle-timeout` says otherwise.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// The same for a daemon that a command started and that finds no store, or none that it can open: as after a typing error.
pub const STORELESS_IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// `status` names at most so many of the processes that are connected: enough for people.
pub const PROCESSES_TOLD: usize = 100;

/// A spawned daemon must say `ready`, or why not, within this time.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A new daemon waits this long for the life lock of one that is just ending.
pub const LIFE_LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a lock file is opened again whose path led to another file by the time that its lock was gained.
pub const LOCK_FILE_TRIES: u32 = 8;

/// Pause before a lock file that another process has locked is tried again.
pub const LOCK_FILE_PAUSE: Duration = Duration::from_millis(5);

/// The most bytes of a lock file that are read: a pid or the path of a socket is far shorter.
pub const LOCK_FILE_BYTES: u64 = 4_096;

/// A daemon that starts waits this long for a store whose lock is held by a daemon that nobody can reach, then serves it
/// beside that one. Most such daemons are ending, or bind their socket anew ([`WATCH_INTERVAL`]).
pub const STORE_LOCK_TIMEOUT: Duration = Duration::from_millis(800);

/// A connection of a daemon that ends is left after this long, and what belonged to it is given back. Shorter than
/// [`DRAIN_TIMEOUT`], which covers that too.
pub const DRAIN_CONNECTION_TIMEOUT: Duration = Duration::from_millis(600);

/// SIGTERM drains what is in flight and ends within this time.
pub const DRAIN_TIMEOUT: Duration = Duration::from_millis(900);

/// `kv daemon stop` waits this long for the daemon's death.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client waits for one reply: longer than any time-out of an engine, so that an answer is not lost.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client waits for work on the whole store.
pub const MAINTENANCE_TIMEOUT: Duration = Duration::from_millis(TIMEOUT_MS);

/// How often a client sends a call again whose daemon ended before it took it, or that may be repeated: often enough for
/// daemons that are stopped one after the other.
pub const CALL_TRIES: u32 = 20;

/// After so many daemons in a row that went away at the same call without an answer, the call is what ends them: a kill
/// hits one, or by bad luck two.
pub const DEATHS: u32 = 3;

/// How often one connect starts a daemon that is gone before it says who it is: others may be stopping them meanwhile.
pub const STARTS: u32 = 5;

/// A daemon that lived on for so long after it was asked did not die of that.
pub const DEATH_AFTER: Duration = Duration::from_secs(1);

/// How long a subscription of a client looks for the next daemon before it tells that there is none.
pub const RESUME_TIMEOUT: Duration = Duration::from_secs(30);

/// It starts one itself when there is none after this long: whoever ended the last one may be about to.
pub const RESUME_PATIENCE: Duration = Duration::from_secs(1);

/// How often it does.
pub const RESUME_INTERVAL: Duration = Duration::from_millis(100);

/// How long a client waits for the daemon to accept, to prove who it is and to answer `hello`.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// `kv daemon list` and `kv daemon stop --all` wait this long for each daemon to say who it is: one that takes longer is
/// shown as one that does not answer.
pub const LIST_TIMEOUT: Duration = Duration::from_secs(1);

/// How long `hello` waits for the store to say which one it is; shorter than the time that a client waits for `hello`.
pub const HELLO_STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest time-out that a request may carry, in milliseconds.
pub const TIMEOUT_MS: u64 = 24 * 60 * 60 * 1_000;

/// The longest path of a Unix socket on this system, in bytes without the final NUL (`sun_path`, unix(7)).
pub const SOCKET_PATH_BYTES: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// A line between a client and the daemon that it starts has at most so many bytes.
pub const HANDOVER_BYTES: u64 = 64 * 1_024;

/// The log of a daemon is begun anew when it is larger than this; the one before it is kept.
pub const LOG_BYTES: u64 = 1_024 * 1_024;

/// Lines at the end of a daemon's log that are quoted when the daemon did not start.
pub const LOG_LINES_TOLD: usize = 3;

/// What happens again and again is logged once in this time.
pub const LOG_REPEAT_INTERVAL: Duration = Duration::from_secs(10);

/// Different things that happened within [`LOG_REPEAT_INTERVAL`] and are logged; of more than that nothing is logged, so that
/// nobody fills the log with ever new words.
pub const LOG_REPEATS: usize = 64;

/// A batch whose commit takes longer than this is logged: most take a few milliseconds.
pub const SLOW_COMMIT: Duration = Duration::from_secs(1);

/// How often the daemon looks whether it is idle, or its socket gone.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// How long the daemon waits before it accepts again when it is out of descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often an ending daemon looks whether its clients are done.
pub const DRAIN_PAUSE: Duration = Duration::from_millis(5);

/// How long `kv lock run` waits for a command that was told to end, before it kills it.
pub const CHILD_GRACE: Duration = Duration::from_secs(5);

/// Signals that come within this time are dealt with together: those that are sent to a process and to its group at once, as
/// timeout(1) does, are one, and a group has been sent the whole of what it is sent by then.
pub const SIGNAL_GATHERING: Duration = Duration::from_millis(20);

/// How long a command waits for the process that tells which signals have reached its group; it answers at once unless it
/// was stopped or killed by itself.
pub const WITNESS_TIMEOUT: Duration = Duration::from_secs(1);

/// How often it is started before kv gives up: a signal that comes first may end it.
pub const WITNESS_STARTS: u32 = 3;

/// `kv lock run` waits this long for an answer of the store when its lock should have been renewed already.
pub const LOCK_ANSWER: Duration = Duration::from_secs(2);

/// And asks this often, before it takes the lock as lost without having heard so. Tries are counted, not time: a process
/// that was stopped in one of them has lost no more than that one.
pub const LOCK_LAST_TRIES: u32 = 5;

/// How long a command goes on with a commit or a release when it is asked to end.
pub const END_GRACE: Duration = Duration::from_secs(2);

/// How long a command that is asked to end waits until its work has cleaned up behind itself.
pub const CLEANUP_GRACE: Duration = Duration::from_secs(10);

/// `kv consumer stream` commits at least this often while there is more to deal with.
pub const COMMIT_INTERVAL: Duration = Duration::from_millis(100);

/// A command that waits for longer tells what for.
pub const TELL_AFTER: Duration = Duration::from_secs(1);

/// How often a command that goes on printing looks whether somebody still reads.
pub const READER_INTERVAL: Duration = Duration::from_millis(250);

/// How often `kv daemon logs --follow` looks for more.
pub const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);
