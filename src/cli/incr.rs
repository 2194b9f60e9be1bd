//! `kv incr`

use clap::Args;
use kv::store::{ExpiryChange, Increment, JsonText, Mutation, Reply, Result, Write, Written};

use super::arguments::{ConditionArguments, GuardArguments, usage};
use super::put::print_version;
use super::{WriteCommand, output};

#[derive(Debug, Args)]
pub(super) struct Incr {
    /// Key
    key: String,
    /// Number to add, which may be negative or have decimals
    #[arg(default_value = "1", allow_negative_numbers = true)]
    by: String,
    /// Remove the record after this time, as 30s, 10m or 7d; none = it stays (default: as it is)
    #[arg(long, value_name = "TIME", value_parser = super::duration::expiry)]
    ttl: Option<ExpiryChange>,
    /// Print the new version instead of the sum
    #[arg(long)]
    print_version: bool,
    #[command(flatten)]
    condition: ConditionArguments,
    #[command(flatten)]
    guard: GuardArguments,
}

impl WriteCommand for Incr {
    fn write(&self) -> Result<Write> {
        let by = JsonText::parse(&self.by).map_err(|_| {
            usage(
                &format!("{:?} is not a number, so it cannot be added", self.by),
                "for example: kv incr KEY -1, or kv incr KEY 0.5",
            )
        })?;
        Ok(self.guard.write(Mutation::Increment(Increment {
            condition: self.condition.condition()?,
            expiry: self.ttl.unwrap_or_default(),
            ..Increment::by(&self.key, by)
        })))
    }

    fn print(&self, reply: Reply) -> Result<()> {
        match reply {
            Reply::Written(Written { value: Some(value), .. }) if !self.print_version => {
                output::print_line(value.get())
            }
            reply => print_version(self.print_version, &reply),
        }
    }
}
