//! Whether a directory may hold the socket of a daemon.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::own::ELSEWHERE;
use super::peer::own_uid;
use super::{SocketGroup, refused};
use crate::quote::{shell_word, shown};
use crate::store::{Error, Result};

/// Creates a directory for this user alone, with those above it. An existing one is left as it is.
///
/// # Errors
/// `unavailable` when it cannot be created, or would stand in another user's directory.
pub(super) fn create_private(directory: &Path) -> Result<()> {
    if directory.symlink_metadata().is_ok() {
        return Ok(());
    }
    // sudo may keep HOME: root must not leave directories where the user of that home can replace them.
    let ancestor = directory.ancestors().find_map(|path| Some((path, path.metadata().ok()?)));
    if let Some((path, metadata)) = ancestor
        && ![0, own_uid()].contains(&metadata.uid())
    {
        return Err(refused(format!(
            "{} cannot be created: {} belongs to user {}, not to user {}",
            shown(directory),
            shown(path),
            metadata.uid(),
            own_uid()
        ))
        .hint(ELSEWHERE));
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| refused(format!("{} cannot be created: {error}", shown(directory))).hint(ELSEWHERE))
}

/// Checks that a directory is not a link, belongs to this user, and is closed to all others.
///
/// # Errors
/// `unavailable`, with a command that helps as its hint.
pub(super) fn check_private(directory: &Path) -> Result<()> {
    let metadata = open_directory(directory)?;
    check_owner(directory, &metadata)?;
    let (mode, path) = (metadata.mode() & 0o777, shell_word(directory));
    if mode != 0o700 {
        return Err(refused(format!(
            "{path} has mode {mode:04o}, but must be open to its owner alone: 0700"
        ))
        .hint(format!("chmod 700 {path}")));
    }
    Ok(())
}

/// Checks that a directory is not a link, belongs to this user, and lets this group in and no other user.
///
/// # Errors
/// `unavailable`, with a command that helps as its hint.
pub(super) fn check_shared(directory: &Path, group: &SocketGroup) -> Result<()> {
    let path = shell_word(directory);
    let make =
        format!("sudo install -d -o {} -g {} -m 750 {path}", own_uid(), shell_word(group.name.as_ref()));
    let metadata = open_directory(directory).map_err(|error| error.hint(make.as_str()))?;
    check_owner(directory, &metadata).map_err(|error| error.hint(make.as_str()))?;
    let (mode, gid) = (metadata.mode() & 0o777, metadata.gid());
    if mode != 0o750 || gid != group.gid {
        return Err(refused(format!(
            "{path} has mode {mode:04o} and group {gid}, but must be open to its owner and the group {} alone: 0750",
            group.name
        ))
        .hint(make));
    }
    Ok(())
}

/// The metadata of a directory. It is opened first: its path may lead elsewhere a moment later.
fn open_directory(directory: &Path) -> Result<std::fs::Metadata> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty()).map_err(io::Error::from);
    opened.and_then(|descriptor| File::from(descriptor).metadata()).or_else(|error| {
        // A directory that cannot even be opened belongs to another user, as a rule, and to say that helps more.
        if let Ok(metadata) = std::fs::symlink_metadata(directory) {
            check_owner(directory, &metadata)?;
        }
        Err(unreadable(directory, &error))
    })
}

fn check_owner(directory: &Path, metadata: &std::fs::Metadata) -> Result<()> {
    let (owner, path) = (metadata.uid(), shell_word(directory));
    if owner == own_uid() {
        return Ok(());
    }
    Err(refused(format!("{path} belongs to user {owner}, not to user {}", own_uid()))
        .hint(format!("sudo chown {} {path} && chmod 700 {path}", own_uid())))
}

/// The error for a directory that cannot be inspected.
pub(super) fn unreadable(directory: &Path, error: &io::Error) -> Error {
    refused(format!("{} is not a directory that can be used: {error}", shown(directory)))
}
