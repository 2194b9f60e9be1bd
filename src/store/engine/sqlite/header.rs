//! Tells a database file that was written over from the one that was opened.
//!
//! SQLite trusts that no other program writes to the file. `cp backup.db data.db` does: the inode stays, the content is
//! another database, and the log of the old one would be written into it. With a write-ahead log SQLite itself writes
//! the file only when the log is written back, and kv decides when that is (see `checkpoint`). The header of the file
//! (<https://www.sqlite.org/fileformat2.html#the_database_header>) has counters that only grow in the history of one
//! database, so a header whose counters went back belongs to another database.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::store::file_id::FileId;

/// The bytes that are compared: the whole header of the database.
const HEADER_BYTES: usize = 100;

/// The bytes with which every database begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// The header of a database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header([u8; HEADER_BYTES]);

impl Header {
    /// The header at this offset of a file.
    pub(super) fn at(file: &File, offset: u64) -> io::Result<Header> {
        let mut header = Header([0; HEADER_BYTES]);
        file.read_exact_at(&mut header.0, offset)?;
        Ok(header)
    }

    /// Whether this is the header that the next write after `earlier` leaves. The number of checkpoints may go back,
    /// because SQLite itself restores a backup into a database with a commit like any other.
    pub(super) fn is_next_of(&self, earlier: &Header) -> bool {
        let steps = |offset| self.number(offset).wrapping_sub(earlier.number(offset));
        let is_restored = steps(24) == 1 && self.checkpoints() < earlier.checkpoints();
        steps(24) <= 1 && (steps(60) <= 1 || is_restored) && self.number(40) >= earlier.number(40)
    }

    fn number(&self, offset: usize) -> u32 {
        self.0[offset..offset + 4].iter().fold(0, |number, byte| (number << 8) | u32::from(*byte))
    }

    /// Whether these are the first bytes of a database.
    pub(super) fn is_database(&self) -> bool {
        self.0.starts_with(MAGIC)
    }

    /// The size of the database in bytes, according to the header.
    pub(super) fn size_bytes(&self) -> u64 {
        let page_bytes = match self.number(16) >> 16 {
            1 => 65_536,
            bytes => u64::from(bytes),
        };
        page_bytes * u64::from(self.number(28))
    }

    /// How often kv has written the log back: SQLite leaves `user_version` to the application.
    pub(super) fn checkpoints(&self) -> u32 {
        self.number(60)
    }

    /// Whether this can be the header of a database some time after `earlier`. The change counter and the schema number
    /// are SQLite's own; `checkpoints_max` is the number of checkpoints that the database itself holds.
    pub(super) fn follows(&self, earlier: &Header, checkpoints_max: u32) -> bool {
        const CHANGES: usize = 24;
        const SCHEMA: usize = 40;
        self == earlier
            || (self.is_database()
                && self.number(CHANGES) >= earlier.number(CHANGES)
                && self.number(SCHEMA) >= earlier.number(SCHEMA)
                && (earlier.checkpoints()..=checkpoints_max).contains(&self.checkpoints()))
    }
}

/// A descriptor of a database file, for reading its header and its state.
///
/// A process that closes any descriptor of a file loses its POSIX locks on it, also those of SQLite. So all connections
/// of this process to a file share one descriptor, which is closed after the last of them.
#[derive(Debug)]
pub(super) struct MainFile {
    id: FileId,
    file: Arc<File>,
}

static OPEN: Mutex<Vec<(FileId, Weak<File>)>> = Mutex::new(Vec::new());

impl MainFile {
    /// The file at this path. To be called before the first connection is opened; the value is dropped after the last
    /// one.
    pub(super) fn open(path: &Path) -> io::Result<MainFile> {
        // No code panics while it holds this mutex; a poisoned one would still hold a good value.
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let id = FileId::of(path)?;
        let known = open.iter().find(|(known, _)| *known == id);
        if let Some(file) = known.and_then(|(_, file)| file.upgrade()) {
            return Ok(MainFile { id, file });
        }
        let file = Arc::new(File::open(path)?);
        // The path may lead to another file by now.
        let id = FileId::of_metadata(&file.metadata()?);
        if let Some(known) = open.iter().find(|(known, _)| *known == id).and_then(|(_, file)| file.upgrade())
        {
            std::mem::forget(file);
            return Ok(MainFile { id, file: known });
        }
        open.retain(|(_, file)| file.strong_count() > 0);
        open.push((id, Arc::downgrade(&file)));
        Ok(MainFile { id, file })
    }

    /// The device and inode of the file.
    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// The present header of the file.
    pub(super) fn header(&self) -> io::Result<Header> {
        Header::at(&self.file, 0)
    }

    /// Whether the file was deleted: it has no path any more. A file that was moved has one.
    pub(super) fn is_deleted(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Its size in bytes.
    pub(super) fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

impl Drop for MainFile {
    fn drop(&mut self) {
        // Closed while no other thread can open the same file, whose locks would be lost with the descriptor.
        let _open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(null) = File::open("/dev/null") {
            drop(std::mem::replace(&mut self.file, Arc::new(null)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(changes: u8, schema: u8, checkpoints: u8) -> Header {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        (bytes[27], bytes[43], bytes[63]) = (changes, schema, checkpoints);
        Header(bytes)
    }

    #[test]
    fn counters_only_grow_in_one_history() {
        let earlier = header(5, 5, 5);
        for (later, follows) in [
            (header(5, 5, 5), true),
            (header(6, 5, 5), true),
            (header(9, 5, 6), true),
            (header(9, 6, 7), true),
            (header(4, 5, 5), false),
            (header(6, 4, 6), false),
            (header(6, 5, 4), false),
            // A checkpoint that this database never had.
            (header(9, 9, 8), false),
            (Header([0; HEADER_BYTES]), false),
        ] {
            assert_eq!(later.follows(&earlier, 7), follows, "{later:?}");
        }
    }

    #[test]
    fn one_descriptor_serves_all_who_have_a_file_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, [7; HEADER_BYTES]).unwrap();
        let first = MainFile::open(&path).unwrap();
        let second = MainFile::open(&path).unwrap();
        assert!(Arc::ptr_eq(&first.file, &second.file));
        drop(first);
        assert_eq!(second.header().unwrap(), Header([7; HEADER_BYTES]));
        assert!(!second.is_deleted());
        std::fs::remove_file(&path).unwrap();
        assert!(second.is_deleted());
    }
}
