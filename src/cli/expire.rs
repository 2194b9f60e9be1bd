//! `kv expire` and `kv persist`

use std::time::Duration;

use clap::Args;
use kv::store::{self, ExpiryChange, Mutation, Reply, Result, Write};

use super::WriteCommand;
use super::arguments::{ConditionArguments, GuardArguments};
use super::put::print_version;

#[derive(Debug, Args)]
pub(super) struct Expire {
    /// Key
    key: String,
    /// Time after which the record is removed, as 30s, 10m or 7d; none = it stays, as by persist
    #[arg(value_name = "TIME", value_parser = super::duration::expiry)]
    ttl: ExpiryChange,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(super) struct Persist {
    /// Key
    key: String,
    #[command(flatten)]
    how: How,
}

/// What both take besides.
#[derive(Debug, Args)]
struct How {
    #[command(flatten)]
    condition: ConditionArguments,
    #[command(flatten)]
    guard: GuardArguments,
    /// Print the new version
    #[arg(long)]
    print_version: bool,
}

impl How {
    fn write(&self, key: &str, ttl: Option<Duration>) -> Result<Write> {
        let (key, condition) = (key.to_owned(), self.condition.condition()?);
        Ok(self.guard.write(Mutation::Expire(store::Expire { key, ttl, condition })))
    }
}

impl WriteCommand for Expire {
    fn write(&self) -> Result<Write> {
        let ttl = match self.ttl {
            ExpiryChange::After(ttl) => Some(ttl),
            _ => None,
        };
        self.how.write(&self.key, ttl)
    }

    fn print(&self, reply: Reply) -> Result<()> {
        print_version(self.how.print_version, &reply)
    }
}

impl WriteCommand for Persist {
    fn write(&self) -> Result<Write> {
        self.how.write(&self.key, None)
    }

    fn print(&self, reply: Reply) -> Result<()> {
        print_version(self.how.print_version, &reply)
    }
}
