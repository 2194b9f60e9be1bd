//! What limits a store in a SQLite file, and the work on its files.

use std::time::Duration;

/// How long SQLite waits for the write transaction of another process before the request fails with `busy`.
pub const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The bytes of free space on the disk that only deletes and trims may use, or as many as the store has where that is less:
/// so a small store can always be emptied at once, and a large one bit by bit.
pub const KEPT_BYTES: u64 = 4 * 1_024 * 1_024;

/// How long a writer that needs space waits for the readers of SQLite's log before it writes the log back.
pub const LOG_READERS_TIMEOUT: Duration = Duration::from_millis(200);

/// The number of steps in which one transaction applies a delete when the disk is nearly full: the database grows by no more
/// than one step, because a step uses the pages that the last one freed.
pub const DELETE_STEPS: u64 = 100;

/// The bytes of free space that a delete which makes the database grow must leave, in addition to what it is expected to
/// need: for the pages between its records.
pub const GROWTH_MARGIN_BYTES: u64 = 128 * 1_024;

/// The most bytes of the path of a SQLite store: SQLite's own bound (`MAX_PATHNAME`, 512) without what it appends to the
/// path.
pub const STORE_PATH_BYTES: usize = 504;

/// The most bytes of the name of a store's file: file systems allow 255, with what kv and SQLite append to it for the files
/// beside it.
pub const STORE_NAME_BYTES: usize = 240;

/// The bytes to which SQLite cuts its log when it starts a new one: as many as it writes back at once.
pub const SQLITE_LOG_BYTES: u64 = 4 * 1_024 * 1_024;

/// The number of written rows after which kv raises its own number in the header of a SQLite file. They change fewer than
/// the 1,000 pages after which SQLite writes its log back, so the number grows between any two checkpoints.
pub const CHECKPOINT_NUMBER_ROWS: usize = 100;

/// How long a request that finds the files of its store replaced waits for the requests that still use the old ones.
pub const RETIRE_PATIENCE: Duration = Duration::from_millis(200);

/// How long a file that another program has written over must have stayed unchanged before it is opened again.
pub const WRITTEN_OVER_QUIET: Duration = Duration::from_millis(300);

/// How long a request waits for a file that another program has written over to stay unchanged for [`WRITTEN_OVER_QUIET`].
pub const WRITTEN_OVER_PATIENCE: Duration = Duration::from_secs(1);

/// How often a file is checked that seems to be incomplete, or to have the log of another one, before it counts as that:
/// another process may be in the middle of a checkpoint.
pub const FILE_LOOKS: u32 = 3;

/// Pause between two checks of a file that seems to be incomplete: longer than a page takes to be written, and short for a
/// thread that others wait for.
pub const FILE_LOOK_PAUSE: Duration = Duration::from_millis(5);

/// The number of connections that read a SQLite file, beside the one that writes.
pub const SQLITE_READERS: usize = 4;

/// How many polls for commits of other processes are made between two checks whether the files are still the same.
pub const LOOKS_AT_ONE_FILE: u32 = 4;

/// Interval of these polls while no process writes to the log, as far as the kernel tells: on some file systems it tells
/// nothing.
pub const QUIET_LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The most bytes of memory that the cache of records may take, with the lines that are made of them.
pub const CACHE_BYTES: usize = 12 * 1_024 * 1_024;

/// The bytes that a cached record takes besides its key and its value.
pub const CACHED_RECORD_BYTES: usize = 512;

/// The most changes between two reads that the cache of records follows; after more of them it is cleared.
pub const CACHE_CHANGES: u64 = 4_000;

/// The number of keys that are remembered as read once: a record is cached when it is read again.
pub const CACHE_READ_ONCE: usize = 65_536;

/// The most prepared statements that a connection to a SQLite file keeps.
pub const SQLITE_STATEMENTS: usize = 64;

/// The pages that a backup copies before it tells its progress and checks whether it is to go on: 256 KiB with SQLite's
/// usual page size.
pub const BACKUP_STEP_PAGES: i32 = 64;

/// Pause of a backup before it tries again after SQLite has answered that the database is busy.
pub const BACKUP_PAUSE: Duration = Duration::from_millis(10);

/// The most findings of SQLite's own check of a file that are reported: a file with more is damaged everywhere.
pub const INTEGRITY_FINDINGS: u32 = 10_000;

/// The bytes that are copied at once of a backup that is read from a stream.
pub const COPY_BYTES: usize = 256 * 1_024;

/// Pause between two checks whether other processes have closed a store that is to be replaced.
pub const LET_GO_PAUSE: Duration = Duration::from_millis(10);

/// How many fencing tokens a restore passes over when the store that it replaces is too damaged to tell its last one: more
/// than any store grants, and far below [`COUNT_MAX`](super::COUNT_MAX).
pub const LOST_FENCES: i64 = 1_000_000_000_000;
