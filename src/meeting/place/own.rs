//! The directories in which the daemons of this user listen.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::directory::check_private;
use super::peer::own_uid;
use super::{SYSTEM_DIRECTORY, refused};
use crate::environment::variable;
use crate::limits;
use crate::store::Result;

/// The hint where no directory can be used.
pub(super) const ELSEWHERE: &str = "set XDG_RUNTIME_DIR to a directory of yours with mode 0700, choose a socket with \
     KV_SOCKET or --socket, or do without a daemon: --daemon=never";

/// The directories in which the directory of a daemon may stand.
pub(super) struct Bases<'a> {
    /// `$XDG_RUNTIME_DIR`. It is used only when it is private: su and sudo keep that of the former user.
    pub(super) runtime: Option<&'a OsStr>,
    /// The directory that holds the runtime directory of each user. It is tried without the variable too: ssh with a
    /// command, cron and services do not set it.
    pub(super) users: &'a Path,
    /// `$XDG_STATE_HOME`, or its default in the home directory.
    pub(super) state: Option<&'a Path>,
    /// A directory in which every user may create files that only their owner and root may remove.
    pub(super) shared: &'a Path,
}

impl Bases<'_> {
    /// The directory for a socket whose file name has `name_bytes` bytes: `kv` in the first private runtime directory of
    /// this user, else in the state directory; where such a path would be too long, or cannot be made, `kv-UID` in the
    /// shared directory.
    ///
    /// # Errors
    /// `unavailable` when none of them can be used.
    pub(super) fn choose(&self, name_bytes: usize) -> Result<PathBuf> {
        let fits =
            |directory: &Path| directory.as_os_str().len() + 1 + name_bytes <= limits::SOCKET_PATH_BYTES;
        self.preferred()
            .find(|directory| fits(directory) && is_usable(directory))
            .or_else(|| {
                Some(self.last_resort()).filter(|directory| fits(directory) && is_shared(self.shared))
            })
            .ok_or_else(|| refused("there is no directory for the daemon's socket").hint(ELSEWHERE))
    }

    /// Every directory in which a daemon of this user may listen.
    fn all(&self) -> Vec<PathBuf> {
        let system = PathBuf::from(SYSTEM_DIRECTORY);
        self.preferred().chain([self.last_resort(), system]).collect()
    }

    fn preferred(&self) -> impl Iterator<Item = PathBuf> {
        let by_variable = self.runtime.map(PathBuf::from).filter(|path| path.is_absolute());
        let by_uid = self.users.join(own_uid().to_string());
        let runtime = [by_variable, Some(by_uid)].into_iter().flatten();
        let runtime = runtime.filter(|directory| check_private(directory).is_ok());
        runtime.chain(self.state.map(Path::to_owned)).map(|base| base.join("kv"))
    }

    fn last_resort(&self) -> PathBuf {
        self.shared.join(format!("kv-{}", own_uid()))
    }
}

/// Calls a function with the directories of this environment.
fn with_bases<T>(ask: impl FnOnce(&Bases) -> T) -> T {
    let runtime = variable("XDG_RUNTIME_DIR");
    let state = state_directory();
    ask(&Bases {
        runtime: runtime.as_deref(),
        users: Path::new("/run/user"),
        state: state.as_deref(),
        shared: Path::new("/tmp"),
    })
}

/// The directory for a socket whose file name has `name_bytes` bytes, in this environment.
///
/// # Errors
/// As [`Bases::choose`].
pub(super) fn own_directory(name_bytes: usize) -> Result<PathBuf> {
    with_bases(|bases| bases.choose(name_bytes))
}

/// Whether a directory is the one of this user in the directory that all users share.
pub(super) fn is_last_resort(directory: &Path) -> bool {
    with_bases(|bases| bases.last_resort() == directory)
}

/// Every directory in which a daemon of this user may listen, as far as this environment tells: a daemon may have been
/// started from another one.
pub(in crate::meeting) fn own_directories() -> Vec<PathBuf> {
    with_bases(|bases| bases.all())
}

/// `$XDG_STATE_HOME` or `~/.local/state`. When HOME is unset, the home comes from the user database.
fn state_directory() -> Option<PathBuf> {
    let base = directories::BaseDirs::new()?;
    // Only Linux has a state directory.
    let directory = base.state_dir().unwrap_or_else(|| base.data_local_dir()).to_owned();
    directory.is_absolute().then_some(directory)
}

/// Whether a directory exists or can be made. An existing one counts only in a directory of this user: in that of
/// another user, such as a home that sudo has kept, it belongs to the other user. Whether it is private is checked
/// later, so that the error says what to correct.
fn is_usable(directory: &Path) -> bool {
    if directory.symlink_metadata().is_ok() {
        let parent = directory.parent().and_then(|parent| parent.metadata().ok());
        return parent.is_some_and(|parent| parent.uid() == own_uid());
    }
    let ancestor = directory.ancestors().find_map(|path| Some((path, path.metadata().ok()?)));
    ancestor.is_some_and(|(path, metadata)| {
        metadata.is_dir()
            && [0, own_uid()].contains(&metadata.uid())
            && rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok()
    })
}

/// Whether only root can replace what a user creates in a directory of all users.
fn is_shared(directory: &Path) -> bool {
    const STICKY: u32 = 0o1000;
    directory.symlink_metadata().is_ok_and(|metadata| {
        metadata.is_dir()
            && metadata.uid() == 0
            && (metadata.mode() & STICKY != 0 || metadata.mode() & 0o022 == 0)
    })
}
