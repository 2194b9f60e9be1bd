//! Point reads: one statement, and so one round trip and one snapshot.

use std::collections::HashMap;

use async_trait::async_trait;

use super::Core;
use super::read::{After, Read, standing, standing_columns};
use super::session::Session;
use super::statement::Result;
use crate::store::damage::Damage;
use crate::store::engine::sql::{self, Cells as _, Statement, Value};
use crate::store::engine::{Point, SharedRecord, Snapshot};
use crate::store::error::Error;
use crate::store::position::Position;

struct PointRead {
    keys: Vec<String>,
    inline_bytes_max: usize,
}

impl Core {
    pub(super) async fn point(
        &self,
        keys: Vec<String>,
        inline_bytes_max: usize,
    ) -> std::result::Result<Snapshot<Vec<Point>>, Error> {
        let ((position, now_ms), rows) = self.read_on(&mut PointRead { keys, inline_bytes_max }).await?;
        Ok(Snapshot { position, now_ms: self.now_ms(now_ms), rows })
    }
}

#[async_trait]
impl Read for PointRead {
    type Found = ((Position, i64), Vec<Point>);

    async fn read(&mut self, session: &Session) -> Result<(Self::Found, After)> {
        let PointRead { keys, inline_bytes_max } = self;
        let text = format!(
            "select r.*, m.* from (select {} from kv_meta) m left join (
            select {}, case when octet_length(value::text) <= ? then value end as value from kv_record
            where \"key\" = any(?)) r on true",
            standing_columns(),
            sql::columns!(record_head)
        );
        let values = vec![Value::count(*inline_bytes_max as u64), Value::Strings(keys)];
        let found = session.ready(Statement { text, values }).await?.all_rows(&session.client).await?;
        let first = found.first().ok_or_else(|| Damage::new("kv_meta is empty"))?;
        let (position, now_ms) = standing(session, first, sql::VALUE + 1)?;
        let mut points = HashMap::with_capacity(found.len());
        for row in &found {
            if let Some(key) = row.text(0)? {
                let record = sql::record(row, position.head)?.map(SharedRecord::new);
                points.insert(key, record.map_or(Point::Large, Point::Record));
            }
        }
        let rows =
            keys.iter().map(|key| points.get(key.as_str()).cloned().unwrap_or(Point::Absent)).collect();
        Ok((((position, now_ms), rows), After::Kept))
    }
}
