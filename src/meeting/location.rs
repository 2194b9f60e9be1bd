//! Which file a path leads to: what tells two ways to one store from two stores.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use crate::protocol::Hello;
use crate::store::Address;
use crate::store::file_id::FileId;

/// What stands at the path of a database file, as this process sees it.
///
/// A path alone does not name a store: the file may have been moved, with the lock beside it, another mount namespace
/// may have another file of the same name, and two paths may lead to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// The database file, as `DEVICE:INODE`; none where there is none.
    file: Option<String>,
    /// The directory that holds it.
    directory: Option<String>,
}

impl Location {
    /// What a path leads to at this moment, links followed.
    pub(crate) fn of(path: &Path) -> Location {
        let id = |path| FileId::of(path).ok().map(|id| id.to_string());
        Location { file: id(path), directory: path.parent().and_then(id) }
    }

    /// Tells it to those who ask a daemon who it is.
    pub(crate) fn tell(self, hello: &mut Hello) {
        (hello.file, hello.directory) = (self.file, self.directory);
    }
}

/// A store in a file that is served where another one was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mismatch {
    asked: String,
    served: String,
    pid: u32,
    why: &'static str,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { asked, served, pid, why } = self;
        write!(f, "the daemon there, process {pid}, serves {served}, not {asked}{why}")
    }
}

/// Checks that a daemon serves the store that was asked for: the same file, or the place of the same file that is still
/// to be made. Stores that are not files are told apart by their sockets.
pub(crate) fn check(address: &Address, hello: &Hello) -> Result<(), Mismatch> {
    let Some(path) = address.file() else { return Ok(()) };
    let mismatch =
        |why| Err(Mismatch { asked: address.connection(), served: hello.store.clone(), pid: hello.pid, why });
    let served = Address::parse(address.kind(), &hello.store).ok();
    // Through one that may write, a caller who asked to read only could write.
    if address.is_read_only() && served.as_ref().is_some_and(|served| !served.is_read_only()) {
        return mismatch(" for reading only");
    }
    let here = Location::of(path);
    let is_same_path = served.as_ref().and_then(Address::file) == Some(path);
    // A member of a group may not look into the directory, and a daemon that tells none is of a version that knew the path
    // only: then there is nothing to compare but the path.
    let is_blind = FileId::of(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    let is_same = match (&here.file, &hello.file) {
        _ if is_blind || hello.directory.is_none() => is_same_path,
        (Some(here), Some(there)) => here == there,
        // Neither sees a file, and the place is the same.
        (None, None) => is_same_path && hello.directory == here.directory,
        _ => false,
    };
    match is_same {
        true => Ok(()),
        false if is_same_path => {
            mismatch(", which another file of this name is here: it runs in another mount namespace")
        }
        false => mismatch(""),
    }
}
