//! The columns of a row, and what is wrong with them.

use super::{Cell, TableRow};
use crate::limits;
use crate::store::json_text::JsonText;
use crate::store::keys::{check_key, check_name, check_text};

/// Reads columns by name. What does not fit is noted, and is none.
pub(super) struct Columns<'r> {
    row: &'r dyn TableRow,
    problems: Vec<String>,
}

impl<'r> Columns<'r> {
    pub(super) fn of(row: &'r dyn TableRow) -> Columns<'r> {
        Columns { row, problems: Vec::new() }
    }

    pub(super) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    pub(super) fn are_sound(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn into_problems(self) -> Vec<String> {
        self.problems
    }

    fn value(&mut self, column: &str) -> Cell<'r> {
        self.row.cell(column).unwrap_or_else(|problem| {
            self.problems.push(problem);
            Cell::Null
        })
    }

    /// A number that is looked at elsewhere, if it is one.
    pub(super) fn number(&self, column: &str) -> Option<i64> {
        match self.row.cell(column) {
            Ok(Cell::Integer(number)) => Some(number),
            _ => None,
        }
    }

    /// A text that is looked at elsewhere; empty when it is none.
    pub(super) fn word(&self, column: &str) -> &'r str {
        match self.row.cell(column) {
            Ok(Cell::Text(text)) => std::str::from_utf8(text).unwrap_or_default(),
            _ => "",
        }
    }

    pub(super) fn is_null(&mut self, column: &str) -> bool {
        matches!(self.value(column), Cell::Null)
    }

    pub(super) fn integer(&mut self, column: &str) -> Option<i64> {
        match self.value(column) {
            Cell::Integer(number) => Some(number),
            other => {
                self.problem(format!("{column} is {}, not an integer", kind(other)));
                None
            }
        }
    }

    /// A number that is never negative.
    pub(super) fn count(&mut self, column: &str) -> Option<i64> {
        let number = self.integer(column)?;
        if number < 0 {
            self.problem(format!("{column} is {number}"));
        }
        Some(number).filter(|&number| number >= 0)
    }

    /// Milliseconds since 1970 UTC.
    pub(super) fn time(&mut self, column: &str) -> Option<i64> {
        let time = self.integer(column)?;
        if !limits::TIME_MS.contains(&time) {
            self.problem(format!("{column} is {time} ms, which is not a time"));
        }
        Some(time)
    }

    pub(super) fn text(&mut self, column: &str) -> Option<&'r str> {
        match self.value(column) {
            Cell::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Some(text),
                Err(error) => {
                    self.problem(format!("{column} is not UTF-8: {error}"));
                    None
                }
            },
            other => {
                self.problem(format!("{column} is {}, not text", kind(other)));
                None
            }
        }
    }

    pub(super) fn key(&mut self) -> Option<&'r str> {
        let key = self.text("key")?;
        if let Err(error) = check_key(key) {
            self.problem(error.message);
        }
        Some(key)
    }

    pub(super) fn name(&mut self, column: &str) -> Option<&'r str> {
        let name = self.text(column)?;
        if let Err(error) = check_name(column, name) {
            self.problem(error.message);
        }
        Some(name)
    }

    pub(super) fn once_id(&mut self) -> Option<&'r str> {
        let id = self.text("id")?;
        if let Err(error) = check_text("once", "the id", id, limits::ONCE_BYTES) {
            self.problem(error.message);
        }
        Some(id)
    }

    /// The type of a record, which it need not have.
    pub(super) fn record_type(&mut self) {
        if !self.is_null("type") {
            self.name("type");
        }
    }

    /// The expiry of a record, which it need not have.
    pub(super) fn expiry(&mut self) {
        if !self.is_null("expires") {
            self.time("expires");
        }
    }

    /// A value of kv: strict JSON within its bounds, without white space between tokens.
    pub(super) fn json(&mut self) {
        let Some(text) = self.text("value") else { return };
        if text.len() > limits::VALUE_BYTES {
            self.problem(format!("the value has {} bytes", text.len()));
        }
        match JsonText::parse(text) {
            Ok(parsed) if parsed.get() == text => {}
            Ok(_) => self.problem("the value has white space between its tokens"),
            Err(error) => self.problem(format!("the value is not JSON of kv: {error}")),
        }
    }
}

fn kind(cell: Cell<'_>) -> &'static str {
    match cell {
        Cell::Null => "null",
        Cell::Integer(_) => "an integer",
        Cell::Text(_) => "text",
        Cell::Other(kind) => kind,
    }
}
