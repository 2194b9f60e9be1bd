//! `kv mutate`

use clap::Args;
use kv::protocol::{ResultBody, parse_mutation};
use kv::store::{Reply, Result, Write, WriteOperation};

use super::WriteCommand;
use super::arguments::GuardArguments;
use super::format::{self, OutputFormat};
use super::{input, output};

#[derive(Debug, Args)]
pub(super) struct Mutate {
    /// How the results are printed, one for each mutation
    #[arg(long, default_value = "json", value_name = "FORMAT", value_parser = OutputFormat::one_of(format::RESULTS))]
    output: OutputFormat,
    #[command(flatten)]
    guard: GuardArguments,
}

impl WriteCommand for Mutate {
    fn write(&self) -> Result<Write> {
        let text = input::json_of_stdin()?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let mutation = |(index, line): (usize, &str)| {
            parse_mutation(line).map_err(|mut error| {
                error.message = format!("line {}: {}", index + 1, error.message);
                error
            })
        };
        let mutations = lines.map(mutation).collect::<Result<_>>()?;
        Ok(self.guard.write(WriteOperation::Mutate(mutations)))
    }

    fn print(&self, reply: Reply) -> Result<()> {
        let Reply::Mutated(results) = reply else { return Ok(()) };
        let results: Vec<_> = results.into_iter().map(ResultBody::from).collect();
        output::print_items(&results, self.output)
    }
}
