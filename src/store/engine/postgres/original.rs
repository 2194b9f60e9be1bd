//! Reads a database of the Go original on a server.

use super::error::Trouble;
use super::session::connect;
use crate::store::engine::sql::Dialect;
use crate::store::engine::sql::original;
use crate::store::error::Result;
use crate::store::open::postgres::PostgresPlace;
use crate::store::original::{Row, missing};

/// The rows behind a key, or the first ones.
///
/// # Errors
/// `bad_request` when there is no such table.
pub(crate) async fn page(place: &PostgresPlace, after: Option<&str>) -> Result<Vec<Row>> {
    let (session, _) = connect(place).await?;
    let read = async {
        // The original looks where the role or the database says; kv looks into a schema of its own.
        let schema = if place.has_search_path() { "" } else { "reset search_path;" };
        let begin = format!("{schema} set default_transaction_read_only = on");
        session.client.batch_execute(&begin).await?;
        let found = session.client.query_one("select to_regclass('kv') is not null", &[]).await?;
        if !found.try_get::<_, bool>(0)? {
            return Ok(None);
        }
        let rows =
            session.ready(original::page(Dialect::Postgres, after)).await?.all_rows(&session.client).await?;
        let rows = rows.iter().map(|row| original::row(row)).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok::<_, Trouble>(Some(rows))
    };
    let rows = read.await.map_err(|trouble| trouble.describe(place))?;
    rows.ok_or_else(|| missing(&place.to_string()))
}
