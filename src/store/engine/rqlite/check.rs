//! Checks a store on rqlite: a copy of it, because the nodes show no snapshot bit by bit.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::cluster::Cluster;
use super::error::{Trouble, foreign};
use super::http::{backup_of, words};
use crate::quote::shown;
use crate::store::engine::own_runtime;
use crate::store::error::{Code, Error, Result};
use crate::store::maintenance::{Checked, Finding, Watcher};
use crate::store::open::rqlite::RqlitePlace;
use crate::store::open::{Place as _, SqlitePlace};

/// How a file of SQLite begins (<https://www.sqlite.org/fileformat.html#magic_header_string>).
const SQLITE: &[u8] = b"SQLite format 3\0";

/// Checks the store, and tells each finding. It blocks the thread, which must not be one that runs tasks.
pub(crate) fn check(
    place: &RqlitePlace,
    finding: &mut dyn FnMut(Finding),
    watcher: &mut Watcher<'_>,
) -> Result<Checked> {
    let runtime = own_runtime()?;
    let copy = runtime.block_on(Copy::of(place))?;
    let sqlite = SqlitePlace::File { path: copy.path.clone(), read_only: true };
    sqlite.check_store(finding, watcher).map_err(|error| {
        // The copy is gone when this is read.
        let message = error.message.replace(&shown(&copy.path), &place.to_string());
        Error { message, ..error }
    })
}

/// A file with what the leader has, which goes with this.
struct Copy {
    path: PathBuf,
}

impl Copy {
    async fn of(place: &RqlitePlace) -> Result<Copy> {
        let name = format!("kv-check-{}.db", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        let failed = |path: &Path, error: &dyn std::fmt::Display| {
            Error::new(
                Code::Unavailable,
                format!("no copy for the check can be written to {}: {error}", shown(path)),
            )
            .hint("TMPDIR names another directory")
        };
        let mut options = File::options();
        // The copy is as private as the store.
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(|error| failed(&path, &error))?;
        let copy = Copy { path };
        let cluster = Cluster::new(place.clone());
        let told = |trouble: Trouble| trouble.describe(place);
        let mut response = backup_of(&cluster).await.map_err(told)?;
        let mut is_first = true;
        while let Some(chunk) = response.chunk().await.map_err(|error| told(Trouble::Lost(words(&error))))? {
            if std::mem::take(&mut is_first) && !SQLITE.starts_with(&chunk[..chunk.len().min(SQLITE.len())]) {
                return Err(foreign(place, "its copy is not a database"));
            }
            file.write_all(&chunk).map_err(|error| failed(&copy.path, &error))?;
        }
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            // Those that are not there need not be removed.
            let _ = std::fs::remove_file(path);
        }
    }
}
