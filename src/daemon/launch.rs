//! The launcher: the first process of a daemon that a client starts.
//!
//! A client starts it with everything that the caller has: limits, signals, descriptors, a terminal. The launcher sheds
//! that in itself, where no other thread and no host program is disturbed, starts the daemon and ends. So the daemon is
//! the same whoever happened to start it, as far as the system lets a process change what it inherited.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use rustix::fs::Mode;

use super::resources;
use crate::store::{Code, Error, Result};

/// The image that a process runs, also when its file was replaced or deleted.
pub const RUNNING_IMAGE: &str = "/proc/self/exe";

/// The first descriptor behind stdin, stdout and stderr.
const FIRST_OTHER_DESCRIPTOR: i32 = 3;

/// The flag for the scheduler, which nix has no name for. What a fresh set of attributes says is SCHED_OTHER.
#[cfg(target_os = "linux")]
const SET_SCHEDULER: PosixSpawnFlags = PosixSpawnFlags::from_bits_retain(nix::libc::POSIX_SPAWN_SETSCHEDULER);
#[cfg(not(target_os = "linux"))]
const SET_SCHEDULER: PosixSpawnFlags = PosixSpawnFlags::empty();

/// Sheds what this process has of its caller, and starts this program again with these arguments. To be called by a
/// process that has one thread and then ends: it changes the whole process.
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

/// What the new process begins with: default signals, none of them blocked, a process group of its own, and the
/// scheduler of ordinary processes.
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

/// Leaves the caller's session with its terminal, its directory, its mask, limits, niceness and processors, and passes
/// none of its descriptors on. What the system does not let this user change stays as it is.
fn shed() {
    // It fails for the leader of a process group, which a child is not unless its caller made it one.
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    resources::raise();
    let _ = rustix::process::setpriority_process(None, 0);
    #[cfg(target_os = "linux")]
    use_all_processors();
    #[cfg(target_os = "linux")]
    be_no_likelier_victim();
    close_fds::set_fds_cloexec(FIRST_OTHER_DESCRIPTOR, &[]);
}

#[cfg(target_os = "linux")]
fn use_all_processors() {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut processors = CpuSet::new();
    // The kernel leaves out those that are not there, or not for this control group.
    (0..CpuSet::MAX_CPU).for_each(|processor| processors.set(processor));
    let _ = sched_setaffinity(None, &processors);
}

/// Whoever may be ended first when memory is short says so for itself, not for the store of others.
#[cfg(target_os = "linux")]
fn be_no_likelier_victim() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
}

/// The path by which the program of this process can be started again.
fn running_image() -> std::io::Result<PathBuf> {
    let image = PathBuf::from(RUNNING_IMAGE);
    if image.exists() { Ok(image) } else { std::env::current_exe() }
}
