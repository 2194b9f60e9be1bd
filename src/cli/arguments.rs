//! The words of the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use kv::environment;
use kv::store::{Fence, Write};

const EXAMPLES: &str = "\
Examples:
  kv init
  echo '{\"hello\":\"world\"}' | kv put hello
  kv get key hello
  kv list
  kv stream get
  kv delete hello

Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 version mismatch, patch failed or fenced, 5 locked, not owner or
consumer busy, 6 store or daemon unavailable, 7 trimmed, future or another epoch, 8 outcome unknown.";

/// The store of who names none.
pub(super) const DEFAULT_CONNECTION: &str = "file:data.db?mode=rwc";

/// A key-value store with a daemon that shares it.
#[derive(Debug, Parser)]
#[command(name = "kv", version, before_help = "", after_help = EXAMPLES, max_term_width = 110)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) store: StoreArguments,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Arguments {
    /// Reads the command line and the variables of the environment.
    pub(super) fn read() -> Result<Arguments, clap::Error> {
        let mut command = Arguments::command().mut_args(|argument| {
            let variable = argument.get_env().and_then(|name| name.to_str());
            let is_set = variable.is_none_or(|name| environment::variable(name).is_some());
            // clap itself takes an empty variable for an empty value.
            if is_set { argument } else { argument.env(None::<&str>) }
        });
        let mut matches: ArgMatches = command.try_get_matches_from_mut(std::env::args_os())?;
        Arguments::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }
}

/// Which store, and how it is reached.
#[derive(Debug, Clone, Args)]
pub(super) struct StoreArguments {
    /// Kind of database
    #[arg(long = "type", global = true, env = "KV_TYPE", default_value = "sqlite", value_name = "ENGINE")]
    pub(super) engine: Engine,
    /// Where the store is: a path, or file:PATH?mode=ro|rw|rwc
    #[arg(
        long,
        global = true,
        env = "KV_CONNECTION",
        default_value = DEFAULT_CONNECTION,
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    pub(super) connection: OsString,
    /// Socket of the daemon, instead of the one that belongs to the store
    #[arg(long, global = true, env = "KV_SOCKET", value_name = "PATH", allow_hyphen_values = true)]
    pub(super) socket: Option<PathBuf>,
    /// Start the daemon when needed, require that it runs, or open the store in this process
    #[arg(long = "daemon", global = true, env = "KV_DAEMON", default_value = "auto", value_name = "MODE")]
    pub(super) daemon: DaemonMode,
    /// A daemon without connections ends after so many seconds; 0 = never
    #[arg(long = "idle-timeout", global = true, value_name = "SECONDS")]
    pub(super) idle_timeout_s: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Engine {
    Sqlite,
    Rqlite,
    Postgres,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DaemonMode {
    Auto,
    Require,
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create the store, or bring its schema up to date
    Init,
    /// Store a value, read from stdin unless it is given
    Put(super::put::Put),
    /// Print values: get KEY, get key KEY, get batch KEY…, get prefix P, get range FROM TO, get type T
    Get(super::get::Get),
    /// Print records in key order
    List(super::list::List),
    /// Change a part of a value, by a patch read from stdin unless it is given
    Patch(super::patch::Patch),
    /// Print how many records there are: count all, count prefix P, count range FROM TO, count type T
    Count(super::count::Count),
    /// Remove records: delete KEY, delete key KEY…, delete prefix P, delete range FROM TO
    Delete(super::delete::Delete),
    /// Apply mutations, all or none: one JSON object per line on stdin
    Mutate(super::mutate::Mutate),
    /// Print or trim the stream of changes
    Stream(super::stream::Stream),
    /// Print changes as they are committed, or run a command for each: watch [-- COMMAND]
    Watch(super::watch::Watch),
    /// Follow the stream under a name whose position is kept
    #[command(subcommand)]
    Consumer(super::consumer::Consumer),
    /// Acquire, release and show locks
    #[command(subcommand)]
    Lock(super::lock::Lock),
    /// Copy the store into a file, or to stdout, while it is in use
    Backup(super::backup::Backup),
    /// Put a backup in the place of the store, which is kept beside it
    Restore(super::restore::Restore),
    /// Look for damage in the store, or in a backup
    Check(super::check::Check),
    /// Give what is free in the files of the store, as after a trim, back to the file system
    Compact,
    /// Measure how fast the store is
    #[command(subcommand)]
    Benchmark(super::benchmark::Benchmark),
    /// Print the path of the daemon's socket
    Socket,
    /// Send the lines of stdin to the daemon, and print what it answers: nc for machines without it
    Rpc,
    /// Print the description of the protocol, or its JSON Schema
    Protocol {
        /// The JSON Schema of every message
        #[arg(long)]
        schema: bool,
    },
    /// Run, start, stop or show the daemon of this store
    #[command(subcommand)]
    Daemon(DaemonCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum DaemonCommand {
    /// Serve the store in the foreground, in place of a daemon that a command started
    Run {
        /// Let the members of this group use the daemon too; its socket is then in /run/kv
        #[arg(long, value_name = "GROUP")]
        socket_group: Option<String>,
        /// Take the orders from stdin, as a daemon that was started by another command
        #[arg(long, hide = true, conflicts_with = "socket_group")]
        spawned: bool,
        /// The same, started by the launcher
        #[arg(long, hide = true, requires = "spawned")]
        launched: bool,
    },
    /// Start the daemon in the background, unless it runs
    Start,
    /// End the daemon and wait for its death
    ///
    /// Commands that are connected and go on, such as watch, consumer stream and lock run, start the next daemon when they
    /// need it: which ones, is told.
    Stop {
        /// End all daemons of this user, whatever store they serve, and tell which
        #[arg(long)]
        all: bool,
    },
    /// End the daemon that a command started, if there is one, and start the next one
    Restart,
    /// Show which daemon serves the store
    Status,
    /// Show all daemons of this user, whatever store they serve
    List(super::daemon::List),
    /// Print the log of the daemon that a command started
    Logs(super::logs::Logs),
}

/// What must hold for a write to happen.
#[derive(Debug, Args)]
pub(super) struct ConditionArguments {
    /// Only at this version of the key; 0 = only if it is absent, -1 = always
    #[arg(long, allow_negative_numbers = true, default_value_t = -1)]
    version: i64,
    /// Only at this revision of the key; 0 = only if it is absent, -1 = always
    #[arg(long, allow_negative_numbers = true, default_value_t = -1)]
    revision: i64,
}

impl ConditionArguments {
    pub(super) fn condition(&self) -> kv::store::Result<kv::store::Condition> {
        kv::store::Condition::of_numbers(Some(self.version), Some(self.revision))
    }
}

/// What guards a write besides its condition.
#[derive(Debug, Args)]
pub(super) struct GuardArguments {
    /// Apply the write once, however often it is repeated with this id within 24 h
    #[arg(long, value_name = "ID")]
    once: Option<String>,
    /// Only while the lock has this fencing token
    #[arg(long, value_name = "LOCK:TOKEN", value_parser = fence)]
    fence: Option<Fence>,
}

impl GuardArguments {
    pub(super) fn write(&self, operation: impl Into<Write>) -> Write {
        Write { once: self.once.clone(), fence: self.fence.clone(), ..operation.into() }
    }
}

fn fence(text: &str) -> Result<Fence, String> {
    let (lock, token) = text.rsplit_once(':').ok_or("a fence is LOCK:TOKEN")?;
    let token = token
        .parse()
        .map_err(|_| format!("{token:?} is no token: it is the fence that lock acquire printed"))?;
    Ok(Fence { lock: lock.to_owned(), token })
}

/// The key of a write, as a word or as a flag.
#[derive(Debug, Args)]
pub(super) struct KeyArguments {
    /// Key
    #[arg(required_unless_present = "key_flag")]
    key: Option<String>,
    /// Key, as a flag
    #[arg(long = "key", value_name = "KEY", conflicts_with = "key")]
    key_flag: Option<String>,
}

impl KeyArguments {
    pub(super) fn key(&self) -> String {
        // clap sees to it that exactly one of them is there.
        self.key.as_ref().or(self.key_flag.as_ref()).cloned().unwrap_or_default()
    }
}

/// How records are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ListFormat {
    /// One JSON array
    Json,
    /// One record per line
    Ndjson,
}

/// A usage error of words that clap cannot check.
pub(super) fn usage(message: &str, hint: &str) -> kv::store::Error {
    kv::store::Error::new(kv::store::Code::BadRequest, message).hint(hint)
}

/// Reads an OFFSET, a LIMIT or another number that may be negative.
pub(super) fn number(what: &str, word: Option<&String>, default: i64) -> kv::store::Result<i64> {
    word.map_or(Ok(default), |word| {
        word.parse().map_err(|_| usage(&format!("{what} is a number, not {word:?}"), "see kv help"))
    })
}
