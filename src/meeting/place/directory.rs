//! Which directories may be trusted with a socket.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::own::ELSEWHERE;
use super::peer::own_uid;
use super::{SocketGroup, quoted, refused};
use crate::store::{Error, Result};

/// Creates a directory for us alone, with those above it, unless it would land in another user's tree.
pub(super) fn create_private(directory: &Path) -> Result<()> {
    if directory.symlink_metadata().is_ok() {
        return Ok(());
    }
    // sudo may keep HOME: root must not leave directories in a tree that its user can rename under root's feet.
    let ancestor = directory.ancestors().find_map(|path| Some((path, path.metadata().ok()?)));
    if let Some((path, metadata)) = ancestor
        && ![0, own_uid()].contains(&metadata.uid())
    {
        return Err(refused(format!(
            "{} cannot be created: {} belongs to user {}, not to user {}",
            directory.display(),
            path.display(),
            metadata.uid(),
            own_uid()
        ))
        .hint(ELSEWHERE));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| {
        refused(format!("{} cannot be created: {error}", directory.display())).hint(ELSEWHERE)
    })
}

/// Checks that a directory is a real one, ours, and closed to everybody else.
pub(super) fn check_private(directory: &Path) -> Result<()> {
    let metadata = open_directory(directory)?;
    check_owner(directory, &metadata)?;
    let (mode, path) = (metadata.mode() & 0o777, quoted(directory));
    if mode != 0o700 {
        return Err(refused(format!("{path} has mode {mode:04o}, but it must be its owner's alone: 0700"))
            .hint(format!("chmod 700 {path}")));
    }
    Ok(())
}

/// Checks that a directory is a real one, ours, and that besides us only the group can get into it.
pub(super) fn check_shared(directory: &Path, group: &SocketGroup) -> Result<()> {
    let path = quoted(directory);
    let make = format!("sudo install -d -o {} -g {} -m 750 {path}", own_uid(), quoted(group.name.as_ref()));
    let metadata = open_directory(directory).map_err(|error| error.hint(make.as_str()))?;
    check_owner(directory, &metadata).map_err(|error| error.hint(make.as_str()))?;
    let (mode, gid) = (metadata.mode() & 0o777, metadata.gid());
    if mode != 0o750 || gid != group.gid {
        return Err(refused(format!(
            "{path} has mode {mode:04o} and group {gid}, but it must let the group {} in and nobody else: 0750",
            group.name
        ))
        .hint(make));
    }
    Ok(())
}

/// What is known of a directory. It is opened and asked, not its path, which may lead elsewhere a moment later.
fn open_directory(directory: &Path) -> Result<std::fs::Metadata> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty()).map_err(io::Error::from);
    opened.and_then(|descriptor| File::from(descriptor).metadata()).or_else(|error| {
        // One that cannot even be opened is another user's, as a rule, and that says more.
        if let Ok(metadata) = std::fs::symlink_metadata(directory) {
            check_owner(directory, &metadata)?;
        }
        Err(unreadable(directory, &error))
    })
}

fn check_owner(directory: &Path, metadata: &std::fs::Metadata) -> Result<()> {
    let (owner, path) = (metadata.uid(), quoted(directory));
    if owner == own_uid() {
        return Ok(());
    }
    Err(refused(format!("{path} belongs to user {owner}, not to user {}", own_uid()))
        .hint(format!("sudo chown {} {path} && chmod 700 {path}", own_uid())))
}

pub(super) fn unreadable(directory: &Path, error: &io::Error) -> Error {
    refused(format!("{} is not a directory that can be used: {error}", directory.display()))
}
