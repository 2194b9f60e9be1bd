//! The command line: from arguments to one call, and from its answer to stdout, stderr and the exit code.

mod arguments;
mod backup;
mod batch;
mod benchmark;
mod check;
mod child;
mod compact;
mod complete;
mod completions;
mod config;
mod connect;
mod consumer;
mod consumer_get;
mod consumer_stream;
mod count;
mod daemon;
mod delete;
mod doctor;
mod duration;
mod environment;
mod exit_code;
mod expire;
mod format;
mod get;
mod help;
mod hint;
mod incr;
mod input;
mod jq;
mod list;
mod listing;
mod lock;
mod lock_run;
mod logs;
mod manual;
mod misuse;
mod moving;
mod mutate;
mod number;
mod output;
mod patch;
mod progress;
mod put;
mod rename;
mod restore;
mod revert;
mod rpc;
mod settings;
mod signals;
mod stream;
mod stream_get;
mod ttl;
mod update;
mod wait;
mod watch;
mod witness;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use kv::store::{Reply, Request, Result, Store, Write};

use self::arguments::StoreArguments;
use self::environment::Environment;
use self::help::Form;
use self::settings::Settings;

/// A key-value store with a daemon that shares it.
#[derive(Debug, Parser)]
#[command(name = "kv", version)]
struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    #[command(subcommand)]
    command: Command,
}

impl Arguments {
    /// Reads the command line. The words of the help are put together only when it is asked for.
    fn read() -> std::result::Result<Arguments, clap::Error> {
        let mut command = with_negative_words(Arguments::command());
        match command.try_get_matches_from_mut(std::env::args_os()) {
            Ok(mut matches) => {
                Arguments::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
            }
            Err(error) => {
                let form = match error.kind() {
                    ErrorKind::DisplayHelp => Form::asked_for(std::env::args_os()),
                    ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Form::Short,
                    _ => return Err(error),
                };
                let explained = help::explained(Arguments::command(), form);
                Err(explained.try_get_matches_from(std::env::args_os()).err().unwrap_or(error))
            }
        }
    }
}

/// Lets every word that is not an option be a negative number: a limit, or a key such as -5.
fn with_negative_words(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| match argument.is_positional() && !argument.is_last_set() {
        true => argument.allow_negative_numbers(true),
        false => argument,
    });
    command.mut_subcommands(with_negative_words)
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create the store, or bring its schema up to date
    Init,
    /// Store a value, read from stdin unless it is given
    #[command(visible_alias = "set")]
    Put(put::Put),
    /// Print values
    Get(get::Get),
    /// Print records in key order
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Change a part of a value, by a patch read from stdin unless it is given
    Patch(patch::Patch),
    /// Add to a number, and print the sum
    Incr(incr::Incr),
    /// Print how long a record stays
    Ttl(ttl::Ttl),
    /// Make a record expire
    Expire(expire::Expire),
    /// Make a record stay that would expire
    Persist(expire::Persist),
    /// Print how many records there are
    Count(count::Count),
    /// Remove records
    #[command(visible_aliases = ["del", "rm"])]
    Delete(delete::Delete),
    /// Give the record of a key another key
    Rename(rename::Keys),
    /// Store the record of a key under another key too
    CopyKey(rename::Keys),
    /// Change a value by a program that reads it and writes the new one, and again when another writer was faster
    Update(update::Update),
    /// Print the changes of one key
    History(stream_get::History),
    /// Make a record again what it was at a revision of the store
    Revert(revert::Revert),
    /// Apply mutations, all or none: one JSON object per line on stdin
    Mutate(mutate::Mutate),
    /// Print or trim the stream of changes
    Stream(stream::Stream),
    /// Print changes as they are committed, or run a command for each
    Watch(watch::Watch),
    /// Wait until a key exists, or until its value is as wanted
    Wait(wait::Wait),
    /// Follow the stream under a name whose position is kept
    #[command(subcommand)]
    Consumer(consumer::Consumer),
    /// Acquire, release and show locks
    #[command(subcommand)]
    Lock(lock::Lock),
    /// Copy the store into a file, or to stdout, while it is in use
    Backup(backup::Backup),
    /// Replace the store by a backup, and keep the old store beside it
    Restore(restore::Restore),
    /// Look for damage in the store, or in a backup
    Check(check::Check),
    /// Return the free space in the files of the store, as after a trim, to the file system
    Compact,
    /// Write records or changes into a file, one a line
    Export(moving::Export),
    /// Store records that were exported, or those of another program
    Import(moving::Import),
    /// Copy one store into another one, of any kind
    Copy(moving::Copy),
    /// Compare two stores, of any kind
    Diff(moving::Diff),
    /// Measure how fast the store is
    #[command(subcommand)]
    Benchmark(benchmark::Benchmark),
    /// Run, start, stop or show the daemon of this store
    #[command(subcommand)]
    Daemon(daemon::Daemon),
    /// Print the path of the daemon's socket
    Socket,
    /// Send the lines of stdin to the daemon, and print what it answers
    Rpc,
    /// Print the description of the protocol, or its JSON Schema
    Protocol {
        /// The JSON Schema of every message
        #[arg(long)]
        schema: bool,
    },
    /// Show the settings of a command, and where they come from
    #[command(subcommand)]
    Config(config::Config),
    /// Look for what is wrong with an installation, or collect what a report of a fault needs
    Doctor(doctor::Doctor),
    /// Print a script with which a shell completes commands
    Completions(completions::Completions),
    /// Print the version of kv
    Version,
    /// Print what a word of a command line can become
    #[command(hide = true)]
    Complete(complete::Complete),
    /// Write the manual pages into a directory
    Manual(manual::Manual),
}

/// Runs the command and answers the exit code.
pub(crate) fn run() -> u8 {
    if let Some(code) = child::run_as_helper(std::env::args_os()) {
        return code;
    }
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(error) => {
            return misuse::print(error, Arguments::command());
        }
    };
    match dispatch(arguments) {
        Ok(code) => code,
        Err(error) => {
            output::print_error(&error);
            exit_code::of(&error)
        }
    }
}

/// A command that writes. Its input is read and checked before anything is started.
trait WriteCommand {
    fn write(&self) -> Result<Write>;

    /// Prints the answer to the write.
    fn print(&self, reply: Reply) -> Result<()>;

    /// The error that the write was answered with, as it is told on the command line.
    fn explain(&self, error: kv::store::Error) -> kv::store::Error {
        error
    }
}

fn as_write(command: &Command) -> Option<&dyn WriteCommand> {
    match command {
        Command::Put(command) => Some(command),
        Command::Patch(command) => Some(command),
        Command::Incr(command) => Some(command),
        Command::Expire(command) => Some(command),
        Command::Persist(command) => Some(command),
        Command::Delete(command) => command.as_write(),
        Command::Mutate(command) => Some(command),
        Command::Stream(command) => command.as_write(),
        Command::Consumer(command) => command.as_write(),
        Command::Lock(command) => command.as_write(),
        _ => None,
    }
}

/// Runs a command, and answers the exit code: that of the program that it runs, or OK.
fn dispatch(arguments: Arguments) -> Result<u8> {
    match arguments.command {
        // These need no store.
        Command::Protocol { schema } => protocol(schema).map(ok),
        Command::Version => output::print_line(concat!("kv ", env!("CARGO_PKG_VERSION"))).map(ok),
        Command::Completions(command) => command.run(Arguments::command()).map(ok),
        Command::Complete(command) => command.run(Arguments::command()).map(ok),
        Command::Manual(command) => command.run(Arguments::command()).map(ok),
        Command::Daemon(command) => command.run(&arguments.store).map(ok),
        // These name their stores by themselves.
        Command::Copy(command) => connect::block_on(command.run(&arguments.store)),
        Command::Diff(command) => connect::block_on(command.run(&arguments.store)),
        // Settings that cannot be used are one of its findings.
        Command::Doctor(doctor) => connect::block_on(doctor.run(Settings::resolve(&arguments.store))),
        command => {
            let settings = Settings::resolve(&arguments.store)?;
            output::use_color(settings.color.value);
            let done = match command {
                Command::Config(command) => command.run(&settings).map(ok),
                Command::Import(command) => connect::block_on(command.run(&settings, &arguments.store)),
                command => connect::block_on(execute(command, &settings)),
            };
            done.map_err(|error| hint::for_store(error, &settings))
        }
    }
}

async fn execute(command: Command, settings: &Settings) -> Result<u8> {
    match command {
        Command::Socket => {
            let socket = connect::socket(settings).await?;
            output::print_line(&socket.display().to_string()).map(ok)
        }
        Command::Rpc => rpc::run(settings).await.map(ok),
        Command::Benchmark(benchmark) => benchmark.run(settings).await,
        Command::Backup(command) => command.run(settings).await,
        Command::Export(command) => command.run(settings).await,
        Command::Check(command) => command.run(settings).await,
        Command::Restore(command) => command.run(settings).await,
        command => on_store(command, settings).await,
    }
}

/// Runs a command that is one call, or follows the store.
async fn on_store(command: Command, settings: &Settings) -> Result<u8> {
    let request = as_write(&command).map(|command| command.write().map(Request::Write)).transpose()?;
    request.as_ref().map_or(Ok(()), Request::check)?;
    let store = match command {
        Command::Init => connect::open_for_init(settings).await?,
        _ => connect::open(settings).await?,
    };
    let outcome = match (request, as_write(&command)) {
        (Some(request), Some(write)) => match &command {
            Command::Delete(delete) => delete.run(request, &store, settings).await,
            _ => {
                let reply = store.call(request).await.map_err(|error| write.explain(error));
                reply.and_then(|reply| write.print(reply)).map(ok)
            }
        },
        _ => read(command, &store, settings).await,
    };
    store.close().await;
    outcome
}

fn ok(_done: ()) -> u8 {
    exit_code::OK
}

fn protocol(schema: bool) -> Result<()> {
    if schema {
        output::print_document(&kv::protocol::schema())
    } else {
        output::print_line(include_str!("../../docs/protocol.md").trim_end())
    }
}

async fn read(command: Command, store: &impl Store, settings: &Settings) -> Result<u8> {
    let done = match command {
        Command::Watch(command) => return command.run(store, Environment::new(settings)?).await,
        Command::Wait(command) => return command.run(store).await,
        Command::Update(command) => return command.run(store, Environment::new(settings)?).await,
        Command::Consumer(command) => return command.run(store, settings).await,
        Command::Lock(command) => return command.run(store, settings).await,
        Command::Init => {
            let created = store.init().await?;
            output::note(if created { "the store was created" } else { "the store exists already" });
            Ok(())
        }
        Command::Get(command) => command.run(store, settings).await,
        Command::List(command) => command.run(store, settings).await,
        Command::Ttl(command) => command.run(store).await,
        Command::Count(command) => command.run(store).await,
        Command::Rename(keys) => keys.run(store, rename::Original::Removed).await,
        Command::CopyKey(keys) => keys.run(store, rename::Original::Kept).await,
        Command::History(command) => command.run(store, settings).await,
        Command::Revert(command) => command.run(store).await,
        Command::Compact => compact::run(store).await,
        Command::Delete(command) => command.dry_run(store).await,
        Command::Stream(command) => command.run(store, settings).await,
        Command::Put(_)
        | Command::Patch(_)
        | Command::Incr(_)
        | Command::Expire(_)
        | Command::Persist(_)
        | Command::Mutate(_)
        | Command::Benchmark(_)
        | Command::Backup(_)
        | Command::Export(_)
        | Command::Import(_)
        | Command::Copy(_)
        | Command::Diff(_)
        | Command::Check(_)
        | Command::Restore(_)
        | Command::Config(_)
        | Command::Doctor(_)
        | Command::Socket
        | Command::Rpc
        | Command::Protocol { .. }
        | Command::Version
        | Command::Daemon(_)
        | Command::Completions(_)
        | Command::Complete(_)
        | Command::Manual(_) => Ok(()),
    };
    done.map(ok)
}
