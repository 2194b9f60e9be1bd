//! A store that is prepared to take the place of another one.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::new_file::unwritable;
use super::{Checked, Finding, Progress, Watcher, cancelled, check, file_of};
use crate::limits;
use crate::quote::shown;
use crate::store::engine::sqlite::restore;
use crate::store::error::{Code, Error, Result};
use crate::store::file_id::FileId;
use crate::store::files::{self, aside_name, journal_path, staged_path};
use crate::store::open::{Address, SqlitePlace};
use crate::store::time::Clock;

/// The source of a restore.
pub enum Source<'a> {
    /// A file that holds a store: what [`backup`](super::backup) made, or the file of a store that may be in use.
    File(&'a Path),
    /// The bytes of such a file, up to their end.
    Stream(&'a mut dyn Read),
}

/// A store beside another one, checked and complete, that [`Store::restore`](crate::store::Store::restore) puts in its
/// place. Dropping the value removes it, unless it was handed over.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    /// Locked until it is handed over, so that no other process takes it for a leftover.
    file: File,
    is_handed_over: bool,
    /// The epoch of its stream, which names it in the call of the restore.
    pub epoch: String,
    /// The newest schema step of the backup, when it was an older one and was brought up to date.
    pub schema_before: Option<i64>,
    /// The head of its stream.
    pub seq: u64,
    /// The result of the check of the copy.
    pub checked: Checked,
    /// The name of a file beside the store that an interrupted restore has left. It was kept, because it may be the old
    /// store.
    pub leftover: Option<String>,
}

/// Copies a backup beside the store that it is to replace, brings its schema up to date and checks it. The present
/// store is not touched.
///
/// # Errors
/// `unavailable` when the backup is damaged, `unsupported` when it does not hold a store of this version or an older
/// one, or the address is not that of a file, `bad_request` when the backup cannot be read or is the store itself,
/// `read_only` when the store cannot be written to, `busy` while another restore of the same store is under way,
/// `store_full` without room for the copy, `cancelled` when the watcher ends the work.
pub fn stage(address: &Address, from: Source<'_>, watcher: &mut Watcher<'_>) -> Result<Staged> {
    let (place, store) = file_of(address)?;
    let read_only = matches!(place, SqlitePlace::File { read_only: true, .. });
    if read_only {
        return Err(Error::new(Code::ReadOnly, format!("{} is opened with mode=ro", shown(store))));
    }
    if let Source::File(from) = &from {
        check_source(from, store)?;
    }
    let now_ms = Clock::System.now_ms();
    let leftover = lay_leftover_aside(store, now_ms)?;
    let mut staged = Staged::create(store, leftover)?;
    let name = staged.fill(from, watcher).map_err(for_restore)?;
    let prepared = restore::prepare(&staged.path, &name, &staged.epoch, now_ms).map_err(for_restore)?;
    let restore::PreparedCopy { schema_before, seq } = prepared;
    (staged.schema_before, staged.seq) = (schema_before, seq);
    staged.checked = staged.check(&name, watcher)?;
    staged.resemble(store)?;
    Ok(staged)
}

impl Staged {
    fn create(store: &Path, leftover: Option<String>) -> Result<Staged> {
        let path = staged_path(store);
        let created = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = created.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => under_way(store),
            _ => unwritable(&path, &error),
        })?;
        let epoch = uuid::Uuid::new_v4().simple().to_string();
        let checked = Checked::default();
        let staged = Staged {
            path,
            file,
            is_handed_over: false,
            epoch,
            schema_before: None,
            seq: 0,
            checked,
            leftover,
        };
        if lock(&staged.file) && staged.is_at_its_path() { Ok(staged) } else { Err(under_way(store)) }
    }

    /// Copies the backup, and answers its name for errors.
    fn fill(&mut self, from: Source<'_>, watcher: &mut Watcher<'_>) -> Result<String> {
        match from {
            Source::File(from) => {
                restore::copy(from, &self.path, watcher)?;
                Ok(shown(from))
            }
            Source::Stream(from) => {
                self.fill_from(from, watcher)?;
                Ok("what was read".to_owned())
            }
        }
    }

    fn fill_from(&mut self, from: &mut dyn Read, watcher: &mut Watcher<'_>) -> Result<()> {
        let (mut buffer, mut done) = (vec![0; limits::COPY_BYTES], 0);
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Error::new(Code::BadRequest, format!("the backup cannot be read: {error}")));
                }
            };
            self.file.write_all_at(&buffer[..count], done).map_err(|error| unwritable(&self.path, &error))?;
            done += count as u64;
            if watcher(Progress { done, total: 0 }).is_break() {
                return Err(cancelled());
            }
        }
    }

    fn check(&self, name: &str, watcher: &mut Watcher<'_>) -> Result<Checked> {
        let mut first = None;
        let copy = Address::of_file(&self.path, false);
        let mut keep_first = |finding: Finding| {
            first.get_or_insert(finding);
        };
        let checked = check(&copy, &mut keep_first, watcher)?;
        let Some(Finding { table, problem, .. }) = first else { return Ok(checked) };
        let mut error = Error::new(
            Code::Unavailable,
            format!("{name} is damaged, with {} findings, the first in {table}: {problem}", checked.findings),
        );
        error.retry = false;
        Err(error.hint("see what is wrong with: kv --connection FILE check"))
    }

    /// Gives it the mode and the owner of the store, and syncs it.
    fn resemble(&self, store: &Path) -> Result<()> {
        let finished = || -> io::Result<()> {
            let directory = store.parent().unwrap_or(Path::new("/"));
            let (owner, permissions) = match store.metadata() {
                Ok(metadata) => (metadata.clone(), metadata.permissions()),
                Err(_) => (directory.metadata()?, Permissions::from_mode(restore::mode_of_new(store))),
            };
            if rustix::process::geteuid().is_root() {
                fchown(&self.file, Some(owner.uid()), Some(owner.gid()))?;
            }
            self.file.set_permissions(permissions)?;
            self.file.sync_all()?;
            files::sync_directory_of(&self.path)
        };
        finished().map_err(|error| unwritable(&self.path, &error))
    }

    /// Releases the file, so that it can be put in the place of the store. The returned value can remove it, once it is
    /// certain that it was not used.
    pub fn hand_over(mut self) -> HandedOver {
        self.is_handed_over = true;
        HandedOver { path: self.path.clone(), id: self.id() }
    }

    fn id(&self) -> Option<FileId> {
        self.file.metadata().ok().as_ref().map(FileId::of_metadata)
    }

    fn is_at_its_path(&self) -> bool {
        is_at(&self.path, self.id())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_handed_over {
            remove(&self.path, self.id());
        }
    }
}

/// A staged store that may be in the place of the store by now.
#[derive(Debug)]
pub struct HandedOver {
    path: PathBuf,
    id: Option<FileId>,
}

impl HandedOver {
    /// Removes the staged store, if it is still at its path.
    pub fn remove(self) {
        remove(&self.path, self.id);
    }
}

/// Whether this very file is at the path: there may be another one by now.
fn is_at(path: &Path, id: Option<FileId>) -> bool {
    id.is_some_and(|id| FileId::at(path).is_ok_and(|found| found == Some(id)))
}

fn remove(path: &Path, id: Option<FileId>) {
    if is_at(path, id) {
        // The next restore reports a file that stays.
        let _ = std::fs::remove_file(path);
        let _ = std::fs::remove_file(journal_path(path));
    }
}

/// Refuses a backup that holds no store: a restore must not make one of it.
fn for_restore(error: Error) -> Error {
    match error.code {
        Code::NotInitialized => {
            Error::new(Code::Unsupported, error.message).hint("kv backup makes what can be restored")
        }
        _ => error,
    }
}

fn lock(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

fn under_way(store: &Path) -> Error {
    Error::new(Code::Busy, format!("another restore of {} is under way", shown(store)))
}

/// Renames what an interrupted restore has left. It may be the store that was replaced, so it is never removed.
fn lay_leftover_aside(store: &Path, now_ms: i64) -> Result<Option<String>> {
    let path = staged_path(store);
    let Ok(file) = File::open(&path) else {
        return Ok(None);
    };
    if !lock(&file) {
        return Err(under_way(store));
    }
    let aside = aside_name(store, "unfinished-restore", now_ms);
    files::rename_new(&path, &aside).map_err(|error| unwritable(&path, &error))?;
    let journal = journal_path(&path);
    if journal.exists() {
        files::rename_new(&journal, &journal_path(&aside)).map_err(|error| unwritable(&journal, &error))?;
    }
    Ok(aside.file_name().map(|name| name.to_string_lossy().into_owned()))
}

fn check_source(from: &Path, store: &Path) -> Result<()> {
    let refused =
        |why: &str| Error::new(Code::BadRequest, format!("{} cannot be restored: {why}", shown(from)));
    let metadata = from.metadata().map_err(|error| refused(&error.to_string()))?;
    if !metadata.is_file() {
        return Err(refused("it is not a regular file").hint("- reads from stdin"));
    }
    let is_store = FileId::of(store).is_ok_and(|store| store == FileId::of_metadata(&metadata));
    if is_store { Err(refused("it is the store itself")) } else { Ok(()) }
}
