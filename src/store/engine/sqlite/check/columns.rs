//! The columns of a row, and what is wrong with them.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::limits;
use crate::store::json_text::JsonText;
use crate::store::keys::{check_key, check_name, check_text};

/// 9999-12-31T23:59:59.999Z, the last instant that RFC 3339 can tell.
const TIME_MS_MAX: i64 = 253_402_300_799_999;

/// Reads columns by name. What does not fit is noted, and is none.
pub(super) struct Columns<'r, 's> {
    row: &'r Row<'s>,
    problems: Vec<String>,
}

impl<'r, 's> Columns<'r, 's> {
    pub(super) fn of(row: &'r Row<'s>) -> Columns<'r, 's> {
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

    fn value(&mut self, column: &str) -> ValueRef<'r> {
        self.row.get_ref(column).unwrap_or_else(|error| {
            self.problems.push(error.to_string());
            ValueRef::Null
        })
    }

    pub(super) fn is_null(&mut self, column: &str) -> bool {
        matches!(self.value(column), ValueRef::Null)
    }

    pub(super) fn integer(&mut self, column: &str) -> Option<i64> {
        match self.value(column) {
            ValueRef::Integer(number) => Some(number),
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
        if !(0..=TIME_MS_MAX).contains(&time) {
            self.problem(format!("{column} is {time} ms, which is no time"));
        }
        Some(time)
    }

    pub(super) fn text(&mut self, column: &str) -> Option<&'r str> {
        match self.value(column) {
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
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

fn kind(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Null => "null",
        ValueRef::Integer(_) => "an integer",
        ValueRef::Real(_) => "a fraction",
        ValueRef::Text(_) => "text",
        ValueRef::Blob(_) => "a blob",
    }
}
