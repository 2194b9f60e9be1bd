//! Runs prepared statements on a session.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use futures_util::TryStreamExt as _;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Row, RowStream};

use super::error::Trouble;
use crate::store::damage::{self, Damage};
use crate::store::engine::sql::apply::Argument;
use crate::store::engine::sql::{self, Cells, Value};

pub(super) type Result<T> = std::result::Result<T, Trouble>;

type Encoded = std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>>;

impl ToSql for Argument<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Encoded {
        match self {
            Argument::One(Value::Null) => Ok(IsNull::Yes),
            // As `limit` takes one of a subquery, for example.
            Argument::One(Value::Integer(number)) if *kind == Type::INT4 => {
                i32::try_from(*number).unwrap_or(i32::MAX).to_sql(kind, out)
            }
            Argument::One(Value::Integer(number)) => number.to_sql(kind, out),
            Argument::One(Value::Text(text)) => text.to_sql(kind, out),
            Argument::One(Value::Texts(texts)) => texts.to_sql(kind, out),
            Argument::One(Value::Strings(texts)) => texts.to_sql(kind, out),
            Argument::Texts(texts) => texts.to_sql(kind, out),
            Argument::Integers(numbers) => numbers.to_sql(kind, out),
            Argument::Rows(_) => Err("rows are sent as their columns".into()),
        }
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT4, Type::INT8, Type::TEXT, Type::TEXT_ARRAY, Type::INT8_ARRAY].contains(kind)
    }

    to_sql_checked!();
}

/// A column of any type that is text on the wire, as `json` is.
pub(super) struct Text<'a>(pub(super) &'a str);

impl<'a> FromSql<'a> for Text<'a> {
    fn from_sql(
        _: &Type,
        raw: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Text(std::str::from_utf8(raw)?))
    }

    fn accepts(kind: &Type) -> bool {
        [Type::TEXT, Type::JSON, Type::VARCHAR, Type::NAME].contains(kind)
    }
}

impl Cells for Row {
    fn integer(&self, index: usize) -> damage::Result<Option<i64>> {
        let kind = self.columns().get(index).map(|column| column.type_());
        let number = match kind {
            Some(&Type::INT4) => self.try_get::<_, Option<i32>>(index).map(|number| number.map(i64::from)),
            _ => self.try_get(index),
        };
        number.map_err(|error| unfit(&error))
    }

    fn text(&self, index: usize) -> damage::Result<Option<&str>> {
        let text: Option<Text<'_>> = self.try_get(index).map_err(|error| unfit(&error))?;
        Ok(text.map(|Text(text)| text))
    }
}

fn unfit(error: &tokio_postgres::Error) -> Damage {
    Damage::new(format!("a column does not hold what it should: {error}"))
}

/// The statements that a session has prepared. Their texts hold no data, so there are few of them.
#[derive(Default)]
pub(super) struct Prepared(Mutex<HashMap<String, tokio_postgres::Statement>>);

impl Prepared {
    /// Prepares a statement once.
    pub(super) async fn get(&self, client: &Client, text: &str) -> Result<tokio_postgres::Statement> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(text).cloned();
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let numbered = numbered(text);
        #[cfg(test)]
        tests::note(&numbered);
        let statement = client.prepare(&numbered).await?;
        let mut prepared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// PostgreSQL's spelling of a statement: each `?` is `$1`, `$2`, … No text of kv has one that means anything else.
pub(super) fn numbered(text: &str) -> String {
    let mut numbered = String::with_capacity(text.len() + 16);
    for (index, part) in text.split('?').enumerate() {
        if index > 0 {
            numbered.push_str(&format!("${index}"));
        }
        numbered.push_str(part);
    }
    numbered
}

/// A statement that can be sent.
pub(super) struct Ready<'a> {
    statement: tokio_postgres::Statement,
    arguments: Vec<Argument<'a>>,
}

impl<'a> Ready<'a> {
    pub(super) async fn of(
        client: &Client,
        prepared: &Prepared,
        text: &str,
        arguments: Vec<Argument<'a>>,
    ) -> Result<Ready<'a>> {
        Ok(Ready { statement: prepared.get(client, text).await?, arguments })
    }

    pub(super) async fn of_statement(
        client: &Client,
        prepared: &Prepared,
        sql::Statement { text, values }: sql::Statement<'a>,
    ) -> Result<Ready<'a>> {
        let arguments = values.into_iter().map(Argument::from).collect();
        Ready::of(client, prepared, &text, arguments).await
    }

    /// Sends it; at the first poll, so several that are polled together are sent together, in their order.
    pub(super) async fn rows(&self, client: &Client) -> Result<RowStream> {
        Ok(client.query_raw(&self.statement, &self.arguments).await?)
    }

    /// All its rows.
    pub(super) async fn all_rows(&self, client: &Client) -> Result<Vec<Row>> {
        Ok(self.rows(client).await?.try_collect().await?)
    }

    /// Runs it to its end.
    pub(super) async fn execute(&self, client: &Client) -> Result<()> {
        let mut rows = pin!(self.rows(client).await?);
        while rows.try_next().await?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    /// The texts that the tests of this process have prepared.
    static PREPARED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

    pub(super) fn note(text: &str) {
        PREPARED.lock().unwrap().insert(text.to_owned());
    }

    /// All texts so far.
    pub(in super::super) fn prepared() -> BTreeSet<String> {
        PREPARED.lock().unwrap().clone()
    }
}
