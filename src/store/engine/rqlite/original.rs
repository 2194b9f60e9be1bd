//! Reads a database of the Go original on rqlite.

use super::cluster::Cluster;
use super::error::Trouble;
use super::http::Kind;
use super::statement::Body;
use crate::store::damage::Damage;
use crate::store::engine::sql::{Dialect, original};
use crate::store::error::Result;
use crate::store::open::rqlite::RqlitePlace;
use crate::store::original::{Row, missing};

/// The rows behind a key, or the first ones.
///
/// # Errors
/// `bad_request` when there is no such table.
pub(crate) async fn page(place: &RqlitePlace, after: Option<&str>) -> Result<Vec<Row>> {
    let cluster = Cluster::new(place.clone());
    let body = Body::of([original::page(Dialect::Rqlite, after)]);
    let read = cluster.read(Kind::Read, body, |answers| {
        let rows = answers.first().ok_or_else(|| Damage::new("an answer is missing"))?;
        let rows: std::result::Result<Vec<Row>, Damage> =
            rows.iter().map(|row| original::row(&row?)).collect();
        Ok(rows?)
    });
    read.await.map_err(|trouble: Trouble| match trouble.is_no_table() {
        true => missing(&place.to_string()),
        false => trouble.describe(place),
    })
}
