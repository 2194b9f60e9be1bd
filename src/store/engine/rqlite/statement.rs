//! The body of a request: statements with their arguments, as JSON.
//!
//! rqlite takes a text like `x'6162'` for a blob. So a text is sent as JSON within a text, which begins with a quote, and
//! the statement takes it out of there. Rows and lists of texts are JSON arrays.

use serde::Serialize;

use crate::store::engine::sql::apply::Argument;
use crate::store::engine::sql::{Statement, Value};

/// The statements of a request.
#[derive(Debug, Default)]
pub(super) struct Body {
    json: Vec<u8>,
    count: usize,
}

impl Body {
    pub(super) fn of<'a>(statements: impl IntoIterator<Item = Statement<'a>>) -> Body {
        let mut body = Body::default();
        statements.into_iter().for_each(|statement| body.add(statement));
        body
    }

    pub(super) fn add(&mut self, Statement { text, values }: Statement<'_>) {
        let arguments: Vec<Argument<'_>> = values.into_iter().map(Argument::from).collect();
        self.add_text(&text, &arguments);
    }

    /// Adds a text in which each `?` stands for an argument. No text of kv has one that means anything else.
    pub(super) fn add_text(&mut self, text: &str, arguments: &[Argument<'_>]) {
        self.json.push(if self.count == 0 { b'[' } else { b',' });
        self.json.push(b'[');
        let mut parts = text.split('?');
        let mut spelled = parts.next().unwrap_or_default().to_owned();
        for (part, argument) in parts.zip(arguments) {
            spelled += if matches!(argument, Argument::One(Value::Text(_))) { "(? ->> '$')" } else { "?" };
            spelled += part;
        }
        #[cfg(test)]
        tests::note(&spelled);
        self.push(&spelled);
        for argument in arguments {
            self.json.push(b',');
            match argument {
                Argument::One(Value::Null) => self.json.extend(b"null"),
                Argument::One(Value::Integer(number)) => self.push(number),
                Argument::One(Value::Text(text)) => self.push_nested(text),
                Argument::One(Value::Texts(texts)) => self.push_nested(texts),
                Argument::One(Value::Strings(texts)) => self.push_nested(texts),
                Argument::Rows(rows) => {
                    self.push_nested(&rows.iter().map(|row| Row(row)).collect::<Vec<_>>())
                }
                // Those are what PostgreSQL is sent.
                #[cfg(feature = "postgres")]
                Argument::Texts(texts) => self.push_nested(texts),
                #[cfg(feature = "postgres")]
                Argument::Integers(numbers) => self.push_nested(numbers),
            }
        }
        self.json.push(b']');
        self.count += 1;
    }

    /// How many statements there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn into_json(mut self) -> Vec<u8> {
        self.json.push(b']');
        self.json
    }

    fn push(&mut self, value: &(impl Serialize + ?Sized)) {
        #[expect(
            clippy::expect_used,
            reason = "texts and numbers always are JSON, and a vector takes every byte"
        )]
        serde_json::to_writer(&mut self.json, value).expect("texts and numbers are JSON");
    }

    /// JSON within a text.
    fn push_nested(&mut self, value: &(impl Serialize + ?Sized)) {
        #[expect(clippy::expect_used, reason = "texts and numbers always are JSON")]
        let json = serde_json::to_string(value).expect("texts and numbers are JSON");
        self.push(&json);
    }
}

/// A row that is written.
struct Row<'a>(&'a [Value<'a>]);

impl Serialize for Row<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|value| match value {
            Value::Integer(number) => Cell::Integer(*number),
            Value::Text(text) => Cell::Text(text),
            Value::Null | Value::Texts(_) | Value::Strings(_) => Cell::Null,
        }))
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Cell<'a> {
    Integer(i64),
    Text(&'a str),
    Null,
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    /// The texts that the tests of this process have sent.
    static SENT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

    pub(super) fn note(text: &str) {
        SENT.lock().unwrap().insert(text.to_owned());
    }

    /// All texts so far.
    pub(in super::super) fn sent() -> BTreeSet<String> {
        SENT.lock().unwrap().clone()
    }
}
