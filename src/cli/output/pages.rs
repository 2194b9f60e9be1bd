//! Listings: items that are printed page by page, so that at most one page is held.

use std::ops::ControlFlow;

use kv::store::{Code, Error, Result};
use serde::Serialize;

use super::pager::Pager;
use super::table::{Column, Table};
use super::{
    is_terminal, print_bytes, print_item, print_line, print_table, reader_is_gone, screen, unprintable,
};
use crate::cli::format::OutputFormat;
use crate::cli::settings::Settings;

/// Something that a listing shows.
pub(in crate::cli) trait Listed: Sized {
    /// The item as JSON.
    type Body: Serialize + From<Self>;

    /// The columns of a table of such items.
    const COLUMNS: &'static [Column];

    /// The cell of this item in each of the columns.
    fn cells(&self) -> Vec<String>;

    /// The key or the name of this item.
    fn into_key(self) -> String;
}

/// How a listing is printed.
#[derive(Debug, Clone)]
pub(in crate::cli) struct ListPrinter {
    format: OutputFormat,
    /// Whether keys end with NUL instead of a line break.
    is_null: bool,
    /// The program that shows long output on a terminal.
    pager: Option<String>,
}

impl ListPrinter {
    pub(in crate::cli) fn new(format: Option<OutputFormat>, settings: &Settings) -> ListPrinter {
        let format = format.unwrap_or_else(OutputFormat::of_listing);
        ListPrinter {
            format,
            is_null: false,
            pager: settings.pager.as_ref().map(|pager| pager.value.clone()),
        }
    }

    /// This printer, with keys that end with NUL instead of a line break.
    pub(in crate::cli) fn null(self, is_null: bool) -> ListPrinter {
        ListPrinter { is_null, ..self }
    }

    /// Prints a listing, and answers whether stdout still has a reader.
    ///
    /// `next_page` reads a page, and answers none after the last one. Once the reader of stdout is gone, no further page is
    /// read: the command has done its work. When a page cannot be read, those before it stay printed, and an array is left
    /// open, so that it cannot be taken for the whole.
    pub(in crate::cli) async fn print<T: Listed>(
        &self,
        mut next_page: impl AsyncFnMut() -> Result<Option<Vec<T>>>,
    ) -> Result<ControlFlow<()>> {
        let mut printer = ItemPrinter::new(self.format, self.is_null, T::COLUMNS);
        // Whether the first page can be read is reported in any case, and before a pager has the terminal.
        let first = next_page().await?;
        let pager = if is_terminal() { Pager::start(self.pager.as_deref())? } else { None };
        let printed = printer.print_all(first, next_page).await;
        if let Some(pager) = pager {
            pager.finish();
        }
        printed
    }
}

/// Prints results as one JSON array with a result per line, or as one line each.
pub(in crate::cli) fn print_items(items: &[impl Serialize], format: OutputFormat) -> Result<()> {
    let mut printer = ItemPrinter::new(format, false, &[]);
    let mut text = Vec::new();
    for item in items {
        printer.add_json(&mut text, item)?;
    }
    if print_bytes(&text)?.is_break() { Ok(()) } else { printer.finish() }
}

/// Prints one item: as a row of a table for people, or as a line of JSON for programs.
pub(in crate::cli) fn print_one<T: Listed>(item: T, format: Option<OutputFormat>) -> Result<()> {
    match format.unwrap_or_else(OutputFormat::of_listing) {
        OutputFormat::Table => print_table(T::COLUMNS, vec![item.cells()]),
        _ => print_item(&T::Body::from(item)),
    }
}

/// Prints items in order, with what stands between them.
struct ItemPrinter {
    format: OutputFormat,
    is_null: bool,
    is_empty: bool,
    table: Table,
}

impl ItemPrinter {
    fn new(format: OutputFormat, is_null: bool, columns: &'static [Column]) -> ItemPrinter {
        ItemPrinter { format, is_null, is_empty: true, table: Table::new(columns, screen()) }
    }

    async fn print_all<T: Listed>(
        &mut self,
        first: Option<Vec<T>>,
        mut next_page: impl AsyncFnMut() -> Result<Option<Vec<T>>>,
    ) -> Result<ControlFlow<()>> {
        let mut page = first;
        while let Some(items) = page {
            let printed = self.print(items);
            if self.kept(printed)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let next = tokio::select! {
                biased;
                () = reader_is_gone() => return Ok(ControlFlow::Break(())),
                next = next_page() => next,
            };
            page = self.kept(next)?;
        }
        self.finish().map(ControlFlow::Continue)
    }

    /// An outcome; when it is an error, the line of the last item is ended first, so that the error begins one of its own.
    fn kept<T>(&self, outcome: Result<T>) -> Result<T> {
        let is_in_line = self.format == OutputFormat::Json && !self.is_empty;
        if outcome.is_err() && is_in_line {
            print_line("")?;
        }
        outcome
    }

    /// Prints these items at once, and answers whether stdout still has a reader.
    fn print<T: Listed>(&mut self, items: Vec<T>) -> Result<ControlFlow<()>> {
        let mut text = Vec::new();
        match self.format {
            OutputFormat::Table => {
                text = self.table.lines(items.iter().map(Listed::cells).collect()).into_bytes();
            }
            OutputFormat::Text => {
                for item in items {
                    self.add_key(&mut text, &item.into_key())?;
                }
            }
            _ => {
                for item in items {
                    self.add_json(&mut text, &T::Body::from(item))?;
                }
            }
        }
        print_bytes(&text)
    }

    fn add_key(&self, text: &mut Vec<u8>, key: &str) -> Result<()> {
        if !self.is_null && key.contains('\n') {
            return Err(Error::new(Code::BadRequest, format!("the key {key:?} has a line break"))
                .hint("-0 ends each key with NUL instead of a line break"));
        }
        text.extend_from_slice(key.as_bytes());
        text.push(if self.is_null { b'\0' } else { b'\n' });
        Ok(())
    }

    fn add_json(&mut self, text: &mut Vec<u8>, item: &impl Serialize) -> Result<()> {
        if self.format == OutputFormat::Json {
            text.extend_from_slice(if self.is_empty { b"[\n  " } else { b",\n  " });
        }
        serde_json::to_writer(&mut *text, item).map_err(unprintable)?;
        if self.format == OutputFormat::Ndjson {
            text.push(b'\n');
        }
        self.is_empty = false;
        Ok(())
    }

    /// Prints what stands behind the last item: the end of an array, or the headings of an empty table.
    fn finish(&mut self) -> Result<()> {
        match (self.format, self.is_empty) {
            (OutputFormat::Json, true) => print_line("[]"),
            (OutputFormat::Json, false) => print_line("\n]"),
            (OutputFormat::Table, _) => print_bytes(self.table.rest().as_bytes()).map(|_reader| ()),
            _ => Ok(()),
        }
    }
}
