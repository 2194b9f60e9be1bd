//! What is read at one instant: a statement, and what its rows become.
//!
//! An engine runs a [`Reading`] and knows nothing of what is asked, so whatever is asked stands once for all engines: in
//! [`sql::queries`](super::sql::queries).

use std::sync::Arc;

use tokio::sync::oneshot;

use super::sql::{Cells, Dialect, Statement};
use super::{Engine, Snapshot};
use crate::store::damage;
use crate::store::error::{Code, Error, Result};
use crate::store::position::Position;

/// What is asked of a store by one statement.
pub(crate) trait Query: Send + Sync + 'static {
    /// What is made of the rows.
    type Rows: Default + Send + 'static;

    /// Whether it looks at so little that an engine may answer it at once, on the thread of whoever asks.
    const IS_SMALL: bool = false;

    /// The statement. It depends on nothing that is read, so an engine can send it at once.
    fn statement(&self, dialect: Dialect) -> Statement<'_>;

    /// Adds a row, and answers whether the next one is wanted too.
    ///
    /// # Errors
    /// What is wrong with the row.
    fn add(&self, rows: &mut Self::Rows, row: &dyn Cells, position: &Position) -> damage::Result<bool>;

    /// Looks at all rows together.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self, _rows: &Self::Rows, _position: &Position) -> damage::Result<()> {
        Ok(())
    }
}

/// A query under way, as an engine sees it.
pub(crate) struct Reading {
    pub question: Arc<dyn Question>,
    pub rows: Box<dyn RowSink>,
    /// See [`Query::IS_SMALL`].
    pub is_small: bool,
}

/// What an engine is asked.
pub(crate) trait Question: Send + Sync {
    /// See [`Query::statement`].
    fn statement(&self, dialect: Dialect) -> Statement<'_>;
}

/// Where an engine puts the rows of the answer.
pub(crate) trait RowSink: Send {
    /// Forgets the rows of a try that came to nothing.
    fn clear(&mut self);

    /// See [`Query::add`].
    fn add(&mut self, row: &dyn Cells, position: &Position) -> damage::Result<bool>;

    /// Says that there are no more rows; see [`Query::check`].
    fn finish(&mut self, position: &Position) -> damage::Result<()>;

    /// Hands the rows to whoever asked.
    fn deliver(self: Box<Self>);
}

impl<Q: Query> Question for Q {
    fn statement(&self, dialect: Dialect) -> Statement<'_> {
        Query::statement(self, dialect)
    }
}

struct Answer<Q: Query> {
    query: Arc<Q>,
    rows: Q::Rows,
    asker: oneshot::Sender<Q::Rows>,
}

impl<Q: Query> RowSink for Answer<Q> {
    fn clear(&mut self) {
        self.rows = Q::Rows::default();
    }

    fn add(&mut self, row: &dyn Cells, position: &Position) -> damage::Result<bool> {
        self.query.add(&mut self.rows, row, position)
    }

    fn finish(&mut self, position: &Position) -> damage::Result<()> {
        self.query.check(&self.rows, position)
    }

    fn deliver(self: Box<Self>) {
        // The asker waits for it, in `query`.
        drop(self.asker.send(self.rows));
    }
}

impl dyn Engine {
    /// Asks, and answers what the rows have become.
    pub(crate) async fn query<Q: Query>(&self, query: Q) -> Result<Snapshot<Q::Rows>> {
        let query = Arc::new(query);
        let (asker, mut answer) = oneshot::channel();
        let question = Arc::clone(&query) as _;
        let rows = Box::new(Answer { query, rows: Q::Rows::default(), asker });
        let found = self.read(Reading { question, rows, is_small: Q::IS_SMALL }).await?;
        let Snapshot { position, now_ms, rows } = found;
        rows.deliver();
        match answer.try_recv() {
            Ok(rows) => Ok(Snapshot { position, now_ms, rows }),
            Err(_) => Err(Error::new(Code::Internal, "an engine lost the rows that it read")),
        }
    }
}
