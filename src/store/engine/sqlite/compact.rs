//! Returns the free space in the files of a store to the file system.

use std::path::Path;
use std::sync::atomic::Ordering;

use rusqlite::Connection;

use super::Core;
use super::connection::{Access, connect};
use super::error::{describe, is_fatal};
use super::files::{length_bytes, log_path};
use super::retire::Opened;
use crate::store::error::{Code, Error, Result};
use crate::store::open::SqlitePlace;
use crate::store::reply::Compacted;

impl Opened {
    /// Rewrites the store without its free pages, and answers its size before and after. Writes wait meanwhile, and are
    /// refused as `busy` when that takes long; reads go on.
    pub(super) fn compact(&mut self, core: &Core) -> Result<Compacted> {
        let SqlitePlace::File { path, read_only } = &core.place else {
            return Err(Error::new(Code::Unsupported, "a memory store has no file that could be compacted"));
        };
        if *read_only {
            return Err(Error::new(Code::ReadOnly, format!("{} is opened with mode=ro", core.place)));
        }
        let open = self.open(core)?;
        // Otherwise the trimmed changes would be copied too.
        while open.sweep(core)? {}
        let before = bytes(path);
        if let Err(error) = compact(path) {
            if is_fatal(&error, &core.place) {
                core.failed.store(true, Ordering::SeqCst);
            }
            let error = describe(&error, &core.place);
            return Err(match error.code {
                Code::StoreFull => error.hint(
                    "a compact needs room for a copy of the store beside it and in the directory for temporary files \
                     (TMPDIR or /var/tmp of the daemon); nothing was changed",
                ),
                _ => error,
            });
        }
        Ok(Compacted { bytes_before: before, bytes_after: bytes(path) })
    }
}

fn compact(path: &Path) -> rusqlite::Result<()> {
    let connection = connect(path, Access::Write)?;
    let compacted = connection.execute_batch("vacuum");
    // The file shrinks when the log is written back. After a failed attempt that frees the space of the log.
    let written_back = shrink_log(&connection);
    compacted.and(written_back)
}

/// A reader that holds an old snapshot keeps the log; it shrinks after that reader has ended.
fn shrink_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))
}

/// The bytes that the store takes on the disk, with its log.
fn bytes(path: &Path) -> u64 {
    length_bytes(path) + length_bytes(&log_path(path))
}
