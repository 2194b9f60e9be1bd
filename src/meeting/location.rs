//! Whether two paths lead to the same store: a path and the file behind it, as a client and as a daemon see them.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use crate::protocol::Hello;
use crate::store::file_id::FileId;
use crate::store::{Address, EngineKind};

/// The file at the path of a database, and its directory, as this process sees them.
///
/// A path alone does not name a store: the file may have been moved, with the lock beside it, another mount namespace
/// may have another file of the same name, and two paths may lead to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// The database file, as `DEVICE:INODE`; none when the path leads to no file.
    file: Option<String>,
    /// The directory of the file, as `DEVICE:INODE`; none when it cannot be seen.
    directory: Option<String>,
}

impl Location {
    /// What a path leads to at this moment. Links are followed.
    pub(crate) fn of(path: &Path) -> Location {
        let id = |path| FileId::of(path).ok().map(|id| id.to_string());
        Location { file: id(path), directory: path.parent().and_then(id) }
    }

    /// Writes it into the reply to `hello`, for clients to compare with what they see.
    pub(crate) fn tell(self, hello: &mut Hello) {
        (hello.file, hello.directory) = (self.file, self.directory);
    }
}

/// A daemon that serves another store than the one that was asked for.
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

/// Checks that a daemon serves the store that was asked for: the same file or, when it is still to be made, the same path
/// in the same directory; for a store that is not a file, the same address.
///
/// # Errors
/// The two stores, when they differ.
pub(crate) fn check(address: &Address, hello: &Hello) -> Result<(), Mismatch> {
    let mismatch =
        |why| Err(Mismatch { asked: address.to_string(), served: hello.store.clone(), pid: hello.pid, why });
    let kind = EngineKind::from_name(&hello.engine).filter(|&kind| kind == address.kind());
    let served = kind.and_then(|kind| Address::told(kind, &hello.store).ok());
    let Some(path) = address.file() else {
        let is_same = served.is_some_and(|served| served.identity() == address.identity());
        return if is_same { Ok(()) } else { mismatch("") };
    };
    // Through a daemon that may write, a caller that asked for `mode=ro` could write.
    if address.is_read_only() && served.as_ref().is_some_and(|served| !served.is_read_only()) {
        return mismatch(" for reading only");
    }
    let here = Location::of(path);
    let is_same_path = served.as_ref().and_then(Address::file) == Some(path);
    // A member of a group may not look into the directory, and an older daemon does not tell its directory: then there is
    // nothing to compare but the path.
    let is_blind = FileId::of(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    let is_same = match (&here.file, &hello.file) {
        _ if is_blind || hello.directory.is_none() => is_same_path,
        (Some(here), Some(there)) => here == there,
        // Neither sees a file, and the path is the same in the same directory.
        (None, None) => is_same_path && hello.directory == here.directory,
        _ => false,
    };
    match is_same {
        true => Ok(()),
        false if is_same_path => {
            mismatch(": here this path leads to another file, so that daemon runs in another mount namespace")
        }
        false => mismatch(""),
    }
}
