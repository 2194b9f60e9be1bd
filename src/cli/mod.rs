//! The command line: from words to one call, from its answer to stdout, stderr and the exit code.

mod arguments;
mod backup;
mod benchmark;
mod check;
mod child;
mod compact;
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

use kv::store::{Reply, Request, Result, Store, Write};

use self::arguments::{Arguments, Command};
use self::child::Environment;

/// Runs the command and answers the exit code.
pub(crate) fn run() -> u8 {
    if let Some(code) = child::run_as_helper(std::env::args_os()) {
        return code;
    }
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and the version are data, a usage error is not: clap knows.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(exit_code::USAGE);
        }
    };
    let outcome = if let Command::Daemon(command) = arguments.command {
        daemon::run(&arguments.store, command).map(|()| exit_code::OK)
    } else {
        connect::block_on(execute(arguments))
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            output::print_error(&error);
            exit_code::of(&error)
        }
    }
}

/// A command that writes. What it asks for is read and checked before anything is started.
trait WriteCommand {
    fn write(&self) -> Result<Write>;

    /// Prints what the write was answered with.
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

/// Answers the exit code: that of a program that was run, else none but OK.
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
            store.call(request).await.and_then(|reply| command.print(reply)).map(ok)
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
            output::note(if created { "the store was created" } else { "the store is there already" });
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
        | Command::Daemon(_) => Ok(()),
    };
    done.map(ok)
}
