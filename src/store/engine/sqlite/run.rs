//! Runs a text of several statements in one hop to the thread of a connection.
//!
//! Each await on a SQLite connection costs about 50 µs of thread switches, so the unit of work is a text that reads
//! or writes a whole batch. The arguments stand for the `?` of all its statements, in order.

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Either, Executor as _, SqliteConnection};

/// The arguments of a text.
#[derive(Debug, Default)]
pub(super) struct Arguments(SqliteArguments);

impl Arguments {
    pub(super) fn text(self, text: impl Into<String>) -> Arguments {
        self.add(text.into())
    }

    pub(super) fn optional_text(self, text: Option<&str>) -> Arguments {
        self.add(text.map(str::to_owned))
    }

    /// Rows, or keys, as one JSON array: strings and numbers can always be serialised.
    pub(super) fn json(self, value: &(impl serde::Serialize + ?Sized)) -> Arguments {
        self.text(serde_json::to_string(value).unwrap_or_default())
    }

    pub(super) fn integer(self, number: u64) -> Arguments {
        // No count of kv comes near 2^63; a bound that a caller chose may, and means "all" then.
        self.add(i64::try_from(number).unwrap_or(i64::MAX))
    }

    pub(super) fn milliseconds(self, number: i64) -> Arguments {
        self.add(number)
    }

    fn add<'q, T: sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(
        mut self,
        value: T,
    ) -> Arguments {
        // Encoding a string or an integer for SQLite has no way to fail.
        if let Err(error) = self.0.add(value) {
            tracing::error!(%error, "an argument could not be encoded");
        }
        self
    }
}

/// A text under construction.
#[derive(Debug, Default)]
pub(super) struct Script {
    text: String,
    arguments: Arguments,
    statements: usize,
}

impl Script {
    /// Adds a statement with its arguments, and answers its position.
    pub(super) fn add(&mut self, statement: &str, arguments: impl FnOnce(Arguments) -> Arguments) -> usize {
        if self.statements > 0 {
            self.text.push(';');
        }
        self.text.push_str(statement);
        self.arguments = arguments(std::mem::take(&mut self.arguments));
        self.statements += 1;
        self.statements - 1
    }

    pub(super) async fn run(self, connection: &mut SqliteConnection) -> Result<Vec<Statement>, Stopped> {
        run(connection, self.text, self.arguments).await
    }
}

/// What one statement gave.
#[derive(Debug, Default)]
pub(super) struct Statement {
    pub(super) rows: Vec<SqliteRow>,
}

/// A text that stopped at a statement.
#[derive(Debug)]
pub(super) struct Stopped {
    /// How many statements had finished: it tells a failed COMMIT from a failed write.
    pub(super) finished: usize,
    pub(super) error: sqlx::Error,
}

/// Runs the statements in order and stops at the first that fails. The text holds no data: that is in the arguments.
pub(super) async fn run(
    connection: &mut SqliteConnection,
    text: impl Into<String>,
    arguments: Arguments,
) -> Result<Vec<Statement>, Stopped> {
    let text = text.into();
    tracing::trace!(text);
    let mut statements = Vec::new();
    let mut current = Statement::default();
    let mut results = connection.fetch_many(sqlx::query_with(AssertSqlSafe(text), arguments.0));
    loop {
        match results.try_next().await {
            Ok(Some(Either::Right(row))) => current.rows.push(row),
            Ok(Some(Either::Left(_))) => statements.push(std::mem::take(&mut current)),
            Ok(None) => return Ok(statements),
            Err(error) => return Err(Stopped { finished: statements.len(), error }),
        }
    }
}
