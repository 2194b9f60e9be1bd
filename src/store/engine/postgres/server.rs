//! What the server tells of itself.

use async_trait::async_trait;
use tokio_postgres::SimpleQueryMessage;

use super::Core;
use super::error::Trouble;
use super::read::{After, Read};
use super::session::Session;
use super::statement::Result;
use crate::limits;
use crate::store::error::{Code, Error};
use crate::store::reply::{Server, Servers};
use crate::store::time::Clock;

/// The version, the address, the clock in milliseconds, and the settings that decide about what a crash costs.
const TEXT: &str = "select current_setting('server_version'), \
    coalesce(host(inet_server_addr()) || ':' || inet_server_port(), 'a local socket'), \
    (extract(epoch from clock_timestamp()) * 1000)::bigint, \
    current_setting('fsync'), current_setting('full_page_writes')";

/// Reads what the server tells.
struct Look;

#[async_trait]
impl Read for Look {
    type Found = Servers;

    async fn read(&mut self, session: &Session) -> Result<(Servers, After)> {
        let begun_ms = Clock::System.now_ms();
        let messages = session.client.simple_query(TEXT).await?;
        let ended_ms = Clock::System.now_ms();
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let Some(row) = row else {
            return Err(Trouble::Told(Error::new(Code::Internal, "PostgreSQL did not say what it is")));
        };
        let text = |index| row.get(index).unwrap_or_default();
        let server_ms = text(2).parse().unwrap_or(ended_ms);
        let off =
            [(3, "fsync"), (4, "full_page_writes")].into_iter().filter(|(index, _)| text(*index) != "on");
        let warnings = off
            .map(|(_, name)| {
                format!("{name} is off on the server: a crash of its machine can lose or damage the store")
            })
            .collect();
        let server = Server {
            name: "PostgreSQL".to_owned(),
            address: text(1).to_owned(),
            version: Some(text(0).to_owned()),
            // kv refuses a standby.
            is_leader: true,
            is_reachable: true,
            applied_index: None,
            error: None,
        };
        let clock_ahead_ms = Servers::clock_ahead_ms(server_ms, begun_ms, ended_ms);
        Ok((Servers { servers: vec![server], clock_ahead_ms, warnings }, After::Kept))
    }
}

impl Core {
    /// The server that answers, and by how much its clock is ahead.
    pub(super) async fn servers(&self) -> std::result::Result<Servers, Error> {
        let looked = tokio::time::timeout(limits::POSTGRES_STATUS_TIMEOUT, self.read_on(&mut Look)).await;
        looked.unwrap_or_else(|_| Err(Trouble::TimedOut.describe(&self.sessions.place)))
    }
}
