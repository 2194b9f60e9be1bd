//! Notices that a process writes to the log of a store, or puts another file in the place of the store, so that one to which
//! nothing happens need not be looked at.
//!
//! The kernel tells of each write to the log (inotify(7)), also of those by other processes, but not of the commit: that
//! is visible a little later, once the log is synced. And on some file systems it tells nothing. So what it tells is when
//! to look often, and nothing depends on it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

use super::files::log_path;

/// The bytes of a few events: equal ones that follow each other are one.
const EVENTS_BYTES: usize = 256;

/// Notices what happens to the files of one store.
pub(super) struct LogWatch(Option<Receiver>);

impl LogWatch {
    /// Begins to watch the database at this path, and its log.
    pub(super) fn on(database: &Path) -> LogWatch {
        // It is read like a pipe, and the types of tokio for other descriptors are not safe.
        let events = watch(database).and_then(Receiver::from_owned_fd_unchecked);
        if let Err(error) = &events {
            tracing::debug!(%error, "writes to the log are not told, so the store is looked at all the time");
        }
        LogWatch(events.ok())
    }

    /// Waits until the log was written to, or the database replaced, since the last call, at most so long. Answers whether that
    /// may have happened: where the system does not tell, it always may.
    pub(super) async fn is_written(&mut self, patience: Duration) -> bool {
        let Some(events) = &mut self.0 else { return true };
        tokio::time::timeout(patience, events.read(&mut [0; EVENTS_BYTES])).await.is_ok()
    }
}

#[cfg(target_os = "linux")]
fn watch(database: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};

    let events = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    add_watch(&events, log_path(database), WatchFlags::MODIFY)?;
    // A file that loses its name changes its count of links.
    add_watch(&events, database, WatchFlags::ATTRIB | WatchFlags::MOVE_SELF)?;
    Ok(events)
}

#[cfg(not(target_os = "linux"))]
fn watch(_: &Path) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_write_or_a_replacement_is_noticed_once_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("data.db");
        File::create(&database).unwrap();
        let mut log = File::create(log_path(&database)).unwrap();
        let mut watch = LogWatch::on(&database);
        assert!(!watch.is_written(SHORT).await);
        log.write_all(b"a").unwrap();
        log.write_all(b"b").unwrap();
        std::fs::read(&database).unwrap();
        assert!(watch.is_written(LONG).await);
        assert!(!watch.is_written(SHORT).await);
        let other = std::thread::spawn(move || log.write_all(b"c").unwrap());
        assert!(watch.is_written(LONG).await, "also one that comes while it waits");
        other.join().unwrap();
        let next = directory.path().join("next.db");
        File::create(&next).unwrap();
        std::fs::rename(&next, &database).unwrap();
        assert!(watch.is_written(LONG).await);
    }

    #[tokio::test]
    async fn where_nothing_is_told_there_may_always_have_been_a_write() {
        let mut watch = LogWatch::on(Path::new("/nowhere/data.db"));
        assert!(watch.is_written(LONG).await);
    }
}
