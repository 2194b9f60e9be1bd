//! What commands that print listings share: their options, and what is said when a limit of the user ends one.

mod rest;
mod rows;
mod window;

use std::ops::ControlFlow;

use clap::Args;
use kv::store::Result;

pub(super) use self::rest::Rest;
pub(super) use self::rows::{ConsumerAt, SECONDS, local};
pub(super) use self::window::Window;
use super::arguments::usage;
use super::format::OutputFormat;
use super::number;
use super::output::{self, ListPrinter, Listed};
use super::settings::Settings;

/// The options of every listing.
#[derive(Debug, Args)]
pub(super) struct ListingArguments {
    /// Print at most so many; -1 = all, which is the default
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = number::signed)]
    pub(super) limit: Option<i64>,
    /// Pass over so many first
    #[arg(long, value_name = "COUNT", value_parser = number::count)]
    pub(super) offset: Option<u64>,
    /// Begin behind this one: a key, or for the stream a seq
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub(super) after: Option<String>,
    /// From the last one to the first
    #[arg(long)]
    pub(super) reverse: bool,
    /// Print the keys alone
    #[arg(long)]
    pub(super) keys_only: bool,
    /// Print how many there are
    #[arg(long, conflicts_with_all = ["keys_only", "listing_output", "null"])]
    pub(super) count: bool,
    /// End keys with NUL instead of a line break
    #[arg(short = '0', long)]
    pub(super) null: bool,
}

impl ListingArguments {
    /// The first of these options that was given; none when there is none.
    pub(super) fn given(&self) -> Option<&'static str> {
        let options = [
            (self.limit.is_some(), "--limit"),
            (self.offset.is_some(), "--offset"),
            (self.after.is_some(), "--after"),
            (self.reverse, "--reverse"),
            (self.keys_only, "--keys-only"),
            (self.count, "--count"),
            (self.null, "--null"),
        ];
        options.into_iter().find_map(|(is_given, option)| is_given.then_some(option))
    }

    /// Takes the option `-0` out of words that may be negative numbers, because clap takes it for one.
    pub(super) fn take_null(&mut self, words: &mut Vec<String>) {
        let before = words.len();
        words.retain(|word| word != "-0");
        self.null |= words.len() < before;
    }

    /// The part of the listing that is wanted. The words may be `[OFFSET [LIMIT]]`.
    ///
    /// # Errors
    /// `bad_request` when a word is not a number, or is given as an option too.
    pub(super) fn window(&self, words: &[&str]) -> Result<Window> {
        if words.len() > 2 {
            return Err(usage("there are words after OFFSET and LIMIT", "for example: kv list 0 100"));
        }
        let offset = word("OFFSET", words.first(), number::count, self.offset.is_some(), "--offset")?;
        let limit = self.limit_word(words.get(1))?;
        Ok(Window::new(offset.or(self.offset).unwrap_or(0), limit))
    }

    /// The limit, which may be a word too; none = all.
    ///
    /// # Errors
    /// `bad_request` when the word is not a number, or there is an option too.
    pub(super) fn limit_word(&self, text: Option<&&str>) -> Result<Option<u64>> {
        let limit = word("LIMIT", text, number::signed, self.limit.is_some(), "--limit")?.or(self.limit);
        Ok(limit.and_then(|limit| u64::try_from(limit).ok()))
    }

    /// How the listing is printed.
    ///
    /// # Errors
    /// `bad_request` when these options contradict each other.
    pub(super) fn printer(&self, output: Option<OutputFormat>, settings: &Settings) -> Result<ListPrinter> {
        let is_text = self.null || output == Some(OutputFormat::Text);
        if self.null && output.is_some_and(|output| output != OutputFormat::Text) {
            return Err(usage("--null is for keys as text", "leave --output out"));
        }
        if is_text && !self.keys_only {
            let option = if self.null { "--null" } else { "--output text" };
            return Err(usage(
                &format!("{option} prints keys alone"),
                "add --keys-only, or use --output ndjson",
            ));
        }
        let output = if is_text { Some(OutputFormat::Text) } else { output };
        Ok(ListPrinter::new(output, settings).null(self.null))
    }

    /// Prints what `next_page` reads, as [`ListPrinter::print`] does: the items, their keys, or how many there are.
    pub(super) async fn show<T: Listed>(
        &self,
        printer: &ListPrinter,
        mut next_page: impl AsyncFnMut() -> Result<Option<Vec<T>>>,
    ) -> Result<ControlFlow<()>> {
        if self.count {
            let mut count = 0;
            while let Some(items) = next_page().await? {
                count += items.len();
            }
            return output::print_line(&count.to_string()).map(ControlFlow::Continue);
        }
        if self.keys_only {
            let keys = |items: Vec<T>| items.into_iter().map(Listed::into_key).collect::<Vec<String>>();
            return printer.print(async || Ok(next_page().await?.map(keys))).await;
        }
        printer.print(next_page).await
    }
}

/// Reads a number that is given as a word, and must not be given as an option too.
fn word<T>(
    what: &str,
    text: Option<&&str>,
    read: impl Fn(&str) -> std::result::Result<T, String>,
    has_option: bool,
    option: &str,
) -> Result<Option<T>> {
    let Some(text) = text else { return Ok(None) };
    if has_option {
        return Err(usage(&format!("{what} is given as a word and as {option}"), "leave one of them out"));
    }
    read(text).map(Some).map_err(|error| usage(&format!("{what}: {error}"), "for example: kv list 0 100"))
}
