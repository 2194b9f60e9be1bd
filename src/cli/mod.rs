//! The command line: from words to one call, from its answer to stdout, stderr and the exit code.

mod arguments;
mod connect;
mod count;
mod daemon;
mod delete;
mod exit_code;
mod get;
mod list;
mod output;
mod patch;
mod put;
mod stream;

use clap::Parser as _;
use kv::store::{Mutation, Result, Store as _};

use self::arguments::{Arguments, Command};

/// Runs the command and answers the exit code.
pub(crate) fn run() -> u8 {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and the version are data, a usage error is not: clap knows.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(exit_code::USAGE);
        }
    };
    let outcome = if let Command::Daemon(command) = arguments.command {
        daemon::run(&arguments.store, command)
    } else {
        connect::block_on(execute(arguments))
    };
    match outcome {
        Ok(()) => exit_code::OK,
        Err(error) => {
            output::print_error(&error);
            exit_code::of(&error)
        }
    }
}

async fn execute(arguments: Arguments) -> Result<()> {
    if let Command::Socket = arguments.command {
        return output::print_line(&connect::place(&arguments.store)?.socket().display().to_string());
    }
    // What stands in the command is checked before anything is started.
    let mutation = match &arguments.command {
        Command::Put(command) => Some(Mutation::Put(command.request()?)),
        Command::Patch(command) => Some(Mutation::Patch(command.request()?)),
        _ => None,
    };
    let store = connect::open(&arguments.store).await?;
    let outcome = match (arguments.command, mutation) {
        (Command::Init, _) => store.init().await.map(|created| {
            output::note(if created { "the store was created" } else { "the store is there already" });
        }),
        (Command::Put(command), Some(Mutation::Put(put))) => command.run(&store, put).await,
        (Command::Patch(command), Some(Mutation::Patch(patch))) => command.run(&store, patch).await,
        (Command::Count(command), _) => command.run(&store).await,
        (Command::Get(command), _) => command.run(&store).await,
        (Command::List(command), _) => command.run(&store).await,
        (Command::Delete(command), _) => command.run(&store).await,
        (Command::Stream(command), _) => command.run(&store).await,
        (Command::Put(_) | Command::Patch(_) | Command::Socket | Command::Daemon(_), _) => Ok(()),
    };
    store.close().await;
    outcome
}
