//! Bounds of the command line alone.

use std::time::Duration;

/// How long a shell that completes a word waits for the names that kv looks up: a longer pause would be felt as one.
pub const COMPLETION_TIMEOUT: Duration = Duration::from_millis(200);

/// The most names that a shell is offered: more than a screen of them help nobody to choose.
pub const COMPLETION_NAMES: usize = 200;
