//! The programs of systemd that make units take effect.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kv::store::{Code, Error, Result};

use super::super::output;
use super::unit_files::UnitFiles;

/// What both units are called, the socket first.
pub(super) const UNITS: [&str; 2] = ["kv.socket", "kv.service"];

/// Where systemd says that it runs (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// The systemd of the system, of a user, or of an image that does not run.
#[derive(Debug)]
pub(super) struct Manager {
    pub(super) user: bool,
    pub(super) root: Option<PathBuf>,
}

impl Manager {
    /// Checks that units can be installed for it.
    ///
    /// # Errors
    /// `unsupported` where systemd does not run, and `unavailable` when only root may do it.
    pub(super) fn check(&self) -> Result<()> {
        if self.root.is_some() {
            return Ok(());
        }
        if !Path::new(BOOTED).is_dir() {
            return Err(Error::new(Code::Unsupported, "systemd does not run here, so it has no services")
                .hint("--dry-run shows the units, and --root DIR writes them into an image"));
        }
        if !self.user && !rustix::process::geteuid().is_root() {
            return Err(Error::new(Code::Unavailable, "only root may change the services of the system")
                .hint("use sudo, or --user for a service of your own"));
        }
        Ok(())
    }

    /// Makes the units that were written take effect, and starts them; those that run already are started anew when they
    /// were changed.
    ///
    /// # Errors
    /// `unavailable` when a program of systemd fails.
    pub(super) fn install(&self, files: &UnitFiles, restart: bool) -> Result<()> {
        if self.root.is_some() {
            return self.systemctl(&["enable"], &UNITS);
        }
        if !self.user {
            // At the next start of the machine systemd does both by itself.
            run("systemd-sysusers", &[&files.sysusers().to_string_lossy()])?;
            run("systemd-tmpfiles", &["--create", &files.tmpfiles().to_string_lossy()])?;
        }
        self.reload()?;
        self.systemctl(&["enable", "--now"], &UNITS)?;
        if restart { self.systemctl(&["restart"], &UNITS) } else { Ok(()) }
    }

    /// Ends the units, and lets nothing start them any more.
    ///
    /// # Errors
    /// As [`install`](Manager::install).
    pub(super) fn disable(&self) -> Result<()> {
        let words: &[&str] = if self.root.is_some() { &["disable"] } else { &["disable", "--now"] };
        self.systemctl(words, &UNITS)
    }

    /// Makes systemd read its units again.
    ///
    /// # Errors
    /// As [`install`](Manager::install).
    pub(super) fn reload(&self) -> Result<()> {
        if self.root.is_some() { Ok(()) } else { self.systemctl(&["daemon-reload"], &[]) }
    }

    fn systemctl(&self, words: &[&str], units: &[&str]) -> Result<()> {
        let root = self.root.as_ref().map(|root| format!("--root={}", root.display()));
        let scope = match (self.user, &root) {
            (false, _) => None,
            (true, None) => Some("--user"),
            // The units of every user of an image.
            (true, Some(_)) => Some("--global"),
        };
        let arguments: Vec<&str> = root
            .as_deref()
            .into_iter()
            .chain(scope)
            .chain(words.iter().copied())
            .chain(units.iter().copied())
            .collect();
        run("systemctl", &arguments)
    }
}

/// Runs a program of systemd, and says so.
fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let line = [&[program], arguments].concat().join(" ");
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output
        .map_err(|error| Error::new(Code::Unavailable, format!("{line}: {error}")).hint("install systemd"))?;
    if output.status.success() {
        output::note(&line);
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(Code::Unavailable, format!("{line} failed: {}", words.trim()))
        .hint("see journalctl --unit kv, with --user for a service of your own"))
}
