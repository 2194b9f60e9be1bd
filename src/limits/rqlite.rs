//! What limits a store on rqlite nodes.

use std::time::Duration;

/// How long a node may take to accept a connection.
pub const RQLITE_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a node may wait for another one before it answers, in seconds: the `timeout` and `linearizable_timeout` of a request.
pub const RQLITE_NODE_TIMEOUT_S: u64 = 3;

/// How long an engine waits for the answer of a node: longer than the node's own time-outs, which say more.
pub const RQLITE_ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// By how much longer for each byte of a request.
pub const RQLITE_ANSWER_TIME_OF_BYTE: Duration = Duration::from_micros(1);

/// How long a request that was not carried out yet is sent to one node after the other, while there is no leader.
pub const RQLITE_PATIENCE: Duration = Duration::from_secs(10);

/// How long an engine tries to learn what became of a batch whose answer was lost.
pub const RQLITE_LOOK_UP_TIMEOUT: Duration = Duration::from_secs(15);

/// The pause when no node could carry out a request, at first; it doubles each time.
pub const RQLITE_PAUSE_MIN: Duration = Duration::from_millis(20);

/// The longest pause when no node could carry out a request.
pub const RQLITE_PAUSE_MAX: Duration = Duration::from_millis(250);

/// Interval at which the head is read while others write.
pub const RQLITE_LOOK_MIN: Duration = Duration::from_millis(50);

/// Interval at which the head is read when nobody has written for long.
pub const RQLITE_LOOK_MAX: Duration = Duration::from_secs(1);

/// For how many looks without news the interval stays as it is; then each is longer than the one before by a half.
pub const RQLITE_LOOKS_BUSY: u32 = 40;

/// How long a connection is kept that nobody uses.
pub const RQLITE_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest answer of a node: all values that a batch may load, as JSON may write them.
pub const RQLITE_ANSWER_BYTES: usize = 256 * 1_024 * 1_024;

/// The most bytes of a refusal of a node that are told.
pub const RQLITE_WORDS: usize = 200;

/// How long a node may take to tell what it is, for `status`.
pub const RQLITE_STATUS_TIMEOUT: Duration = Duration::from_secs(1);

/// The oldest version that is supported: since this one, linearizable reads are what they are called
/// (<https://github.com/rqlite/rqlite/blob/master/CHANGELOG.md>), and an older one takes the word for `weak`.
pub const RQLITE_VERSION_MIN: [u64; 3] = [8, 32, 5];
