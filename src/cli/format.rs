//! The forms in which commands print data.

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::output;

/// The form in which data is printed. Each command knows some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// A table for people, as wide as the terminal
    Table,
    /// One JSON document
    Json,
    /// One JSON document per line for each item
    Ndjson,
    /// The keys, or a string, without quotes
    Text,
    /// One record as one line of JSON
    Record,
}

/// What listings of names can be printed as.
pub(super) const NAMES: &[OutputFormat] = &[OutputFormat::Table, OutputFormat::Json, OutputFormat::Ndjson];

/// What reports for people can be printed as.
pub(super) const REPORT: &[OutputFormat] = &[OutputFormat::Table, OutputFormat::Json];

/// What results for programs can be printed as.
pub(super) const RESULTS: &[OutputFormat] = &[OutputFormat::Json, OutputFormat::Ndjson];

/// What a comparison can be printed as.
pub(super) const DIFFERENCES: &[OutputFormat] =
    &[OutputFormat::Text, OutputFormat::Json, OutputFormat::Ndjson];

impl OutputFormat {
    /// The default of listings: people see a table, programs get an array.
    pub(super) fn of_listing() -> OutputFormat {
        if output::is_terminal() { OutputFormat::Table } else { OutputFormat::Json }
    }

    /// Reads one of these forms.
    pub(super) fn one_of(formats: &[OutputFormat]) -> impl TypedValueParser<Value = OutputFormat> {
        let values = formats.iter().filter_map(ValueEnum::to_possible_value);
        PossibleValuesParser::new(values).try_map(|name| OutputFormat::from_str(&name, false))
    }
}
