//! The command line: from arguments to one call, and from its answer to stdout, stderr and the exit code.

mod arguments;
mod backup;
mod benchmark;
mod check;
mod child;
mod compact;
mod completions;
mod connect;
mod consumer;
mod consumer_stream;
mod count;
mod daemon;
mod delete;
mod exit_code;
mod get;
mod list;
mod lock;
mod lock_run;
mod logs;
mod manual;
mod mutate;
mod output;
mod patch;
mod progress;
mod put;
mod restore;
mod rpc;
mod signals;
mod stream;
mod watch;
mod witness;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use kv::environment;
use kv::store::{Reply, Request, Result, Store, Write};

use self::arguments::StoreArguments;
use self::child::Environment;

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

/// A key-value store with a daemon that shares it.
#[derive(Debug, Parser)]
#[command(name = "kv", version, before_help = "", after_help = EXAMPLES, max_term_width = 110)]
struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    #[command(subcommand)]
    command: Command,
}

impl Arguments {
    /// Reads the command line and the variables of the environment.
    fn read() -> std::result::Result<Arguments, clap::Error> {
        let mut command = Arguments::command().mut_args(|argument| {
            let variable = argument.get_env().and_then(|name| name.to_str());
            let is_set = variable.is_none_or(|name| environment::variable(name).is_some());
            // clap itself treats an empty variable as an empty value.
            if is_set { argument } else { argument.env(None::<&str>) }
        });
        let mut matches: ArgMatches = command.try_get_matches_from_mut(std::env::args_os())?;
        Arguments::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create the store, or bring its schema up to date
    Init,
    /// Store a value, read from stdin unless it is given
    Put(put::Put),
    /// Print values: get KEY, get key KEY, get batch KEY…, get prefix P, get range FROM TO, get type T
    Get(get::Get),
    /// Print records in key order
    List(list::List),
    /// Change a part of a value, by a patch read from stdin unless it is given
    Patch(patch::Patch),
    /// Print how many records there are: count all, count prefix P, count range FROM TO, count type T
    Count(count::Count),
    /// Remove records: delete KEY, delete key KEY…, delete prefix P, delete range FROM TO
    Delete(delete::Delete),
    /// Apply mutations, all or none: one JSON object per line on stdin
    Mutate(mutate::Mutate),
    /// Print or trim the stream of changes
    Stream(stream::Stream),
    /// Print changes as they are committed, or run a command for each: watch [-- COMMAND]
    Watch(watch::Watch),
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
    /// Measure how fast the store is
    #[command(subcommand)]
    Benchmark(benchmark::Benchmark),
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
    Daemon(daemon::Daemon),
    /// Print a script with which a shell completes commands
    Completions(completions::Completions),
    /// Write the manual pages
    #[command(hide = true)]
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
            // clap knows which: help and the version are data, a usage error is not.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(exit_code::USAGE);
        }
    };
    let outcome = match arguments.command {
        Command::Daemon(command) => command.run(&arguments.store).map(ok),
        Command::Completions(command) => command.run(Arguments::command()).map(ok),
        Command::Manual(command) => command.run(Arguments::command()).map(ok),
        _ => connect::block_on(execute(arguments)),
    };
    match outcome {
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
}

fn as_write(command: &Command) -> Option<&dyn WriteCommand> {
    match command {
        Command::Put(command) => Some(command),
        Command::Patch(command) => Some(command),
        Command::Delete(command) => command.as_write(),
        Command::Mutate(command) => Some(command),
        Command::Stream(command) => command.as_write(),
        Command::Consumer(command) => command.as_write(),
        Command::Lock(command) => command.as_write(),
        _ => None,
    }
}

/// Runs a command, and answers the exit code: that of the program that it runs, or OK.
async fn execute(arguments: Arguments) -> Result<u8> {
    if let Command::Socket = arguments.command {
        let socket = connect::socket(&arguments.store).await?;
        return output::print_line(&socket.display().to_string()).map(ok);
    }
    if let Command::Protocol { schema } = arguments.command {
        return protocol(schema).map(ok);
    }
    if let Command::Rpc = arguments.command {
        return rpc::run(&arguments.store).await.map(ok);
    }
    if let Command::Benchmark(benchmark) = arguments.command {
        return benchmark.run(&arguments.store).await.map(ok);
    }
    match arguments.command {
        Command::Backup(command) => return command.run(&arguments.store).await,
        Command::Check(command) => return command.run(&arguments.store).await,
        Command::Restore(command) => return command.run(&arguments.store).await,
        _ => {}
    }
    let request =
        as_write(&arguments.command).map(|command| command.write().map(Request::Write)).transpose()?;
    request.as_ref().map_or(Ok(()), Request::check)?;
    let store = match arguments.command {
        Command::Init => connect::open_for_init(&arguments.store).await?,
        _ => connect::open(&arguments.store).await?,
    };
    let outcome = match (request, as_write(&arguments.command)) {
        (Some(request), Some(command)) => {
            let reply = match &arguments.command {
                Command::Delete(delete) => delete.call(request, &store, &arguments.store).await,
                _ => store.call(request).await,
            };
            reply.and_then(|reply| command.print(reply)).map(ok)
        }
        _ => read(arguments.command, &store, connect::environment(&arguments.store)?).await,
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

async fn read(command: Command, store: &impl Store, environment: Environment) -> Result<u8> {
    let done = match command {
        Command::Watch(command) => return command.run(store, environment).await,
        Command::Consumer(command) => return command.run(store, environment).await,
        Command::Lock(command) => return command.run(store, environment).await,
        Command::Init => {
            let created = store.init().await?;
            output::note(if created { "the store was created" } else { "the store exists already" });
            Ok(())
        }
        Command::Get(command) => command.run(store).await,
        Command::List(command) => command.run(store).await,
        Command::Count(command) => command.run(store).await,
        Command::Compact => compact::run(store).await,
        Command::Delete(command) => command.dry_run(store).await,
        Command::Stream(command) => command.run(store).await,
        Command::Put(_)
        | Command::Patch(_)
        | Command::Mutate(_)
        | Command::Benchmark(_)
        | Command::Backup(_)
        | Command::Check(_)
        | Command::Restore(_)
        | Command::Socket
        | Command::Rpc
        | Command::Protocol { .. }
        | Command::Daemon(_)
        | Command::Completions(_)
        | Command::Manual(_) => Ok(()),
    };
    done.map(ok)
}
