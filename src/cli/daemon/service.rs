//! `kv daemon install` and `kv daemon uninstall`: the service of systemd that serves a store.

mod manager;
mod unit_files;

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use kv::store::{Code, Error, Result};

use self::manager::Manager;
use self::unit_files::{Store, UnitFile, UnitFiles};
use super::super::settings::Settings;
use super::output;

/// Whose service it is, and on which machine.
#[derive(Debug, Args)]
pub(crate) struct Scope {
    /// A service of this user, instead of one of the system
    #[arg(long)]
    user: bool,
    /// Write and enable the units below this directory, such as that of an image, and start nothing
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Print the units, or what would be removed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    #[command(flatten)]
    scope: Scope,
    /// Path of kv in the units, instead of that of this program
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    #[command(flatten)]
    scope: Scope,
}

impl Scope {
    fn manager(&self) -> Manager {
        Manager { user: self.user, root: self.root.clone() }
    }

    /// Checks, unless nothing is to be changed, that this process can change the units.
    fn check(&self) -> Result<()> {
        if self.dry_run { Ok(()) } else { self.manager().check() }
    }
}

impl Install {
    pub(super) fn run(&self, settings: &Settings) -> Result<()> {
        self.scope.check()?;
        let program = match &self.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(|error| {
                Error::new(Code::Internal, format!("where kv is cannot be told: {error}"))
            })?,
        };
        let files = UnitFiles::new(self.scope.user, self.scope.root.as_deref())?;
        let store = Store::named(settings, &self.scope.manager(), &files)?;
        let wanted = files.wanted(&program, &store)?;
        let manager = self.scope.manager();
        if self.scope.dry_run {
            let texts: Vec<String> = wanted.iter().map(UnitFile::shown).collect();
            return output::print_line(texts.join("\n").trim_end());
        }
        let was_there = files.main().exists();
        // What another store needed, and this one does not.
        let is_obsolete = |path: &PathBuf| wanted.iter().all(|file| file.path != *path);
        let obsolete: Vec<PathBuf> = files.of_stores().into_iter().filter(is_obsolete).collect();
        let removed = remove(&obsolete)?;
        let written = wanted.iter().map(write).collect::<Result<Vec<bool>>>()?;
        let has_changed = removed || written.contains(&true);
        manager.install(&files, was_there && has_changed)?;
        for line in store.advice(&manager) {
            output::note(&line);
        }
        Ok(())
    }
}

impl Uninstall {
    pub(super) fn run(&self) -> Result<()> {
        self.scope.check()?;
        let files = UnitFiles::new(self.scope.user, self.scope.root.as_deref())?;
        let present: Vec<PathBuf> = files.all().into_iter().filter(|path| path.exists()).collect();
        if present.is_empty() {
            output::note(&format!("there is no service: {} is missing", files.main().display()));
            return Ok(());
        }
        let store = files.installed_store();
        if self.scope.dry_run {
            let lines: Vec<String> = present.iter().map(|path| path.display().to_string()).collect();
            return output::print_line(&lines.join("\n"));
        }
        let manager = self.scope.manager();
        manager.disable()?;
        remove(&present)?;
        manager.reload()?;
        output::note(&format!("the store is kept: {store}"));
        if !self.scope.user {
            output::note("the user and the group kv are kept, because files may belong to them");
        }
        Ok(())
    }
}

/// Writes a file, and answers whether that changed anything.
fn write(file: &UnitFile) -> Result<bool> {
    let UnitFile { path, text, .. } = file;
    if std::fs::read(path).is_ok_and(|present| present == text.as_bytes()) && !file.is_exposed() {
        output::note(&format!("{} is there already", path.display()));
        return Ok(false);
    }
    file.write().map_err(|error| failed("written", path, &error))?;
    output::note(&format!("wrote {}", path.display()));
    Ok(true)
}

/// Removes the files that are there, and their directories when they are kv's and empty then. Answers whether there were any.
fn remove(paths: &[PathBuf]) -> Result<bool> {
    let mut any = false;
    for path in paths {
        match std::fs::remove_file(path) {
            Ok(()) => output::note(&format!("removed {}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed("removed", path, &error)),
        }
        any = true;
        if let Some(directory) = path.parent().filter(|directory| unit_files::is_own(directory)) {
            // It stays when it holds files of the administrator.
            let _ = std::fs::remove_dir(directory);
        }
    }
    Ok(any)
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(Code::Unavailable, format!("{} cannot be {what}: {error}", path.display()))
        .hint("run it as the owner of that directory, with sudo for a service of the system")
}
