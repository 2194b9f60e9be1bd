//! Bounds of the command line alone.

use std::time::Duration;

/// How long a command that is told to end still works on a commit or a release.
pub const END_GRACE: Duration = Duration::from_secs(2);

/// How long a command that is told to end waits until its work has removed its temporary files.
pub const CLEANUP_GRACE: Duration = Duration::from_secs(10);

/// The longest time between two commits of `kv consumer stream` while it delivers changes.
pub const COMMIT_INTERVAL: Duration = Duration::from_millis(100);

/// The pause of `kv consumer stream` before it runs a program again that failed; each further one is twice as long.
pub const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The longest of these pauses.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(60);

/// The time of waiting after which a command prints what it waits for.
pub const TELL_AFTER: Duration = Duration::from_secs(1);

/// Interval at which a command that goes on printing checks whether its output is still read.
pub const READER_INTERVAL: Duration = Duration::from_millis(250);

/// Interval at which `kv daemon logs --follow` reads what was added to the log.
pub const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// How long a shell that completes a word waits for the names that kv looks up: a longer pause would be felt as one.
pub const COMPLETION_TIMEOUT: Duration = Duration::from_millis(200);

/// The most names that a shell is offered: more than a screen of them help nobody to choose.
pub const COMPLETION_NAMES: usize = 200;

/// The widest line of help, in columns: longer ones are hard to read.
pub const HELP_COLUMNS: usize = 110;

/// The most bytes of a value as a command reads it, in bytes. White space is not stored, so this is more than the largest
/// value.
pub const VALUE_TEXT_BYTES: usize = 2 * super::VALUE_BYTES;

/// The least columns of a text in a table: a narrower terminal is shown fewer columns instead.
pub const TABLE_SHARE_COLUMNS: usize = 12;

/// The columns of a terminal that does not tell how many it has: those of most.
pub const TERMINAL_COLUMNS: usize = 80;

/// The most letters that differ, or are exchanged, between an unknown command and the one that is offered instead.
pub const SIMILAR_EDITS: usize = 1;

/// The most missing keys that a message names; behind them it tells how many there are.
pub const MISSING_KEYS_NAMED: usize = 10;

/// The most workers of `kv benchmark`: each has a connection of its own.
pub const BENCHMARK_WORKERS: u64 = 1_000;

/// The most bytes of a line that `kv import` reads: the largest value as a command reads it, with its key, its type and the names of
/// the members, however they are escaped.
pub const IMPORT_LINE_BYTES: usize = VALUE_TEXT_BYTES + 64 * 1_024;

/// The bytes of keys and values after which a batch of an import is sent; a larger record is one by itself. Small enough for
/// several batches at once, and large enough that a commit costs little.
pub const IMPORT_BATCH_BYTES: usize = 1_024 * 1_024;

/// The keys in doubt after which a copy looks for their records in the stream of its source: many, as it may read all of the
/// stream each time.
pub const RECONCILED_KEYS: usize = 10_000;

/// The most batches of an import that are sent and not yet answered: the next ones are read and sent while the store commits.
pub const IMPORT_BATCHES: usize = 4;

/// The most columns of a value in a line of `kv diff` on a terminal, and in a message.
pub const VALUE_TOLD_COLUMNS: usize = 40;

/// The most keys that `kv copy` names when they differ; behind them it tells how many there are.
pub const DIFFERENCES_NAMED: usize = 10;
