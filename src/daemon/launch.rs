//! The launcher: the first process of a daemon that a client starts.
//!
//! It inherits everything that the calling process has: limits, signals, descriptors, a terminal. The launcher sheds that
//! in itself, where it disturbs neither another thread nor the program that uses the library, starts the daemon and ends.
//! So the daemon is the same whichever process has started it, as far as the system lets a process change what it inherited.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use rustix::fs::Mode;

use super::resources;
use crate::store::{Code, Error, Result};

/// A path by which a process can execute its own program, also when the file was replaced or deleted (Linux, proc(5)).
pub const RUNNING_IMAGE: &str = "/proc/self/exe";

/// The first descriptor behind stdin, stdout and stderr.
const FIRST_OTHER_DESCRIPTOR: i32 = 3;

/// The flag that sets the scheduler, for which nix has no name. A fresh set of attributes holds SCHED_OTHER.
#[cfg(target_os = "linux")]
const SET_SCHEDULER: PosixSpawnFlags = PosixSpawnFlags::from_bits_retain(nix::libc::POSIX_SPAWN_SETSCHEDULER);
#[cfg(not(target_os = "linux"))]
const SET_SCHEDULER: PosixSpawnFlags = PosixSpawnFlags::empty();

/// Sheds what this process has inherited, and starts its program again with these arguments. Changes the whole process, so it
/// is only for one that has a single thread and ends afterwards.
///
/// # Errors
/// `unavailable` when the program cannot be started.
pub fn launch(arguments: &[&str]) -> Result<()> {
    shed();
    let failed = |what: &str| Error::new(Code::Unavailable, format!("the daemon cannot be started: {what}"));
    let program = running_image().map_err(|error| failed(&error.to_string()))?;
    let name = std::env::args_os().next().unwrap_or_else(|| program.clone().into_os_string());
    let words = std::iter::once(name).chain(arguments.iter().map(OsString::from));
    let words: Vec<CString> = words.filter_map(|word| CString::new(word.into_vec()).ok()).collect();
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok());
    let environment: Vec<CString> = environment.collect();
    let start = |with_scheduler: bool| {
        let attributes = attributes(with_scheduler)?;
        posix_spawn(&program, &PosixSpawnFileActions::init()?, &attributes, &words, &environment)
    };
    // The kernel may keep a process that is scheduled when nothing else runs (SCHED_IDLE) in that class.
    start(true).or_else(|_| start(false)).map(drop).map_err(|errno| failed(errno.desc()))
}

/// The attributes of the new process: default signals, none of them blocked, a process group of its own, and the scheduler
/// of ordinary processes.
fn attributes(with_scheduler: bool) -> nix::Result<PosixSpawnAttr> {
    let flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
        | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
        | PosixSpawnFlags::POSIX_SPAWN_SETPGROUP;
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(if with_scheduler { flags | SET_SCHEDULER } else { flags })?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_pgroup(Pid::from_raw(0))?;
    Ok(attributes)
}

/// Leaves the session of the caller with its terminal, sets the working directory, umask, limits, niceness and processors to
/// those of every daemon, and keeps the new process from inheriting descriptors. What the system does not let this user
/// change stays as it is.
fn shed() {
    // This fails for the leader of a process group, which a child is not unless its parent made it one.
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    resources::raise();
    let _ = rustix::process::setpriority_process(None, 0);
    #[cfg(target_os = "linux")]
    use_all_processors();
    #[cfg(target_os = "linux")]
    reset_oom_score();
    close_fds::set_fds_cloexec(FIRST_OTHER_DESCRIPTOR, &[]);
}

/// Lets the process run on every processor.
#[cfg(target_os = "linux")]
fn use_all_processors() {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut processors = CpuSet::new();
    // The kernel ignores processors that are missing, or not allowed in this control group.
    (0..CpuSet::MAX_CPU).for_each(|processor| processors.set(processor));
    let _ = sched_setaffinity(None, &processors);
}

/// Resets the score of the OOM killer (proc(5)): a caller that offers itself to be killed first when memory is short does not
/// offer the daemon, which other processes use.
#[cfg(target_os = "linux")]
fn reset_oom_score() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
}

/// The path by which the program of this process can be started again.
fn running_image() -> std::io::Result<PathBuf> {
    let image = PathBuf::from(RUNNING_IMAGE);
    if image.exists() { Ok(image) } else { std::env::current_exe() }
}
