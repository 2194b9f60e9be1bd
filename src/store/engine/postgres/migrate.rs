//! Brings the schema of a database up to date.

use super::Core;
use super::session::{Session, in_time};
use super::statement::Result;
use crate::store::engine::migrations::{self, Migration, pending};
use crate::store::engine::sql::{Statement, Value};
use crate::store::error::Error;
use crate::store::open::postgres::SCHEMA;

/// The lock that only one process at a time has which changes the schema: there may be no table yet that could be locked. The
/// number is that of the letters "kv init".
const LOCK: i64 = 0x006b_7620_696e_6974;

impl Core {
    /// Runs the steps that are missing in one transaction that excludes every other process, and answers whether all
    /// were: then this is a new store.
    pub(super) async fn migrate(&self) -> std::result::Result<bool, Error> {
        let (session, _) = self.sessions.connect().await?;
        let created = in_time(self.migrate_on(&session)).await;
        created.map_err(|trouble| trouble.describe(&self.sessions.place))
    }

    async fn migrate_on(&self, session: &Session) -> Result<bool> {
        let client = &session.client;
        client.batch_execute(&format!("begin; select pg_advisory_xact_lock({LOCK})")).await?;
        session.check_session().await?;
        // Only where it is missing: a role that may not create schemas can use one that was made for it.
        if session.schema.is_none() && !self.sessions.place.has_search_path() {
            client.batch_execute(&format!("create schema if not exists {SCHEMA}")).await?;
        }
        let exists = client.query_one("select to_regclass('kv_migration') is not null", &[]).await?;
        let mut applied: Vec<i64> = Vec::new();
        if exists.try_get(0)? {
            let rows = client.query(migrations::STEPS, &[]).await?;
            applied = rows.iter().map(|row| row.try_get(0)).collect::<std::result::Result<_, _>>()?;
        }
        let steps = pending(migrations::POSTGRES, &applied).map_err(super::error::Trouble::Told)?;
        if steps.is_empty() {
            client.batch_execute("rollback").await?;
            return Ok(false);
        }
        if applied.is_empty() {
            client.batch_execute(migrations::POSTGRES_TABLE).await?;
        } else {
            // Whoever writes with the schema before has ended by then, and sees the new one.
            client.batch_execute("lock table kv_meta in access exclusive mode").await?;
        }
        for step in steps {
            self.run(session, step).await?;
        }
        if applied.is_empty() {
            let random = || uuid::Uuid::new_v4().simple().to_string();
            let (store_id, epoch) = (random(), random());
            let values = vec![Value::Text(&store_id), Value::Text(&epoch)];
            session
                .ready(Statement { text: migrations::NEW_STORE.to_owned(), values })
                .await?
                .execute(client)
                .await?;
        }
        client.batch_execute("commit").await?;
        Ok(applied.is_empty())
    }

    async fn run(&self, session: &Session, step: &Migration) -> Result<()> {
        session.client.batch_execute(step.sql).await?;
        let values =
            vec![Value::Integer(step.number), Value::Text(step.name), Value::Integer(self.clock.now_ms())];
        session
            .ready(Statement { text: migrations::STEP_DONE.to_owned(), values })
            .await?
            .execute(&session.client)
            .await
    }
}
