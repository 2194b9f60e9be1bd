//! What the nodes tell of themselves.

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Core;
use super::error::Trouble;
use super::http::{Kind, of_sending, of_status, with_login};
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::reply::{Server, Servers};
use crate::store::time::Clock;

/// The answer of `/nodes?ver=2` (<https://rqlite.io/docs/guides/monitoring-rqlite/>).
#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<NodeStatus>,
}

#[derive(Deserialize)]
struct NodeStatus {
    #[serde(default)]
    id: String,
    /// The URL of its API, as the node tells it to the others.
    #[serde(default)]
    api_addr: String,
    /// Its address for the other nodes.
    #[serde(default)]
    addr: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    leader: bool,
    #[serde(default)]
    reachable: bool,
    #[serde(default)]
    error: Option<String>,
}

/// The part of `/status?key=store` that is told.
#[derive(Deserialize)]
struct StoreStatus {
    /// The last entry of the log that its database has.
    fsm_index: u64,
}

impl Core {
    /// The nodes, and by how much the clock of the leader is ahead.
    pub(super) async fn servers(&self) -> Result<Servers> {
        let client = self.cluster.client()?;
        let mut servers =
            self.nodes(&client).await.map_err(|trouble| trouble.describe(&self.cluster.place))?;
        let applied = servers.iter().map(|server| self.applied_index(&client, server));
        for (index, server) in join_all(applied).await.into_iter().zip(&mut servers) {
            server.applied_index = index;
        }
        Ok(Servers { servers, clock_ahead_ms: self.clock_ahead_ms().await?, warnings: Vec::new() })
    }

    /// As the first node tells that can.
    async fn nodes(&self, client: &Client) -> std::result::Result<Vec<Server>, Trouble> {
        let mut last = Trouble::NoLeader;
        for node in self.cluster.place.nodes() {
            let url = self.cluster.place.url(node);
            // It asks the others, one of which may not answer.
            let timeout_ms = limits::RQLITE_STATUS_TIMEOUT.as_millis() / 2;
            match self
                .get::<Nodes>(client, &format!("{url}/nodes?ver=2&nonvoters&timeout={timeout_ms}ms"))
                .await
            {
                Ok(Nodes { nodes }) => return Ok(nodes.into_iter().map(Server::from).collect()),
                Err(trouble) => last = trouble,
            }
        }
        Err(last)
    }

    /// None when the node cannot be asked from here.
    async fn applied_index(&self, client: &Client, server: &Server) -> Option<u64> {
        // The password goes nowhere without the TLS that was asked for.
        let scheme = if self.cluster.place.is_https() { "https://" } else { "http://" };
        if !server.is_reachable || !server.address.starts_with(scheme) {
            return None;
        }
        let status: StoreStatus =
            self.get(client, &format!("{}/status?key=store", server.address)).await.ok()?;
        Some(status.fsm_index)
    }

    async fn get<T: DeserializeOwned>(&self, client: &Client, url: &str) -> std::result::Result<T, Trouble> {
        let place = &self.cluster.place;
        let request = client.get(url).timeout(limits::RQLITE_STATUS_TIMEOUT);
        let response =
            with_login(request, place).send().await.map_err(|error| of_sending(&error, place, Kind::Read))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| of_sending(&error, place, Kind::Read))?;
        if status != StatusCode::OK {
            return Err(of_status(place, status, &body, "status"));
        }
        serde_json::from_slice(&body)
            .map_err(|error| Trouble::Lost(format!("what it tells of itself cannot be read: {error}")))
    }

    /// By how much the clock of the leader is ahead of that of this machine, as far as the time of the request allows to tell.
    async fn clock_ahead_ms(&self) -> Result<i64> {
        let begun_ms = Clock::System.now_ms();
        let reading = tokio::time::timeout(limits::RQLITE_STATUS_TIMEOUT, self.now_ms_of_leader());
        let leader_ms = reading.await.map_err(|_| Error {
            retry: true,
            ..Error::new(Code::Unavailable, "the leader does not answer")
        })??;
        let ended_ms = Clock::System.now_ms();
        Ok(Servers::clock_ahead_ms(leader_ms, begun_ms, ended_ms))
    }
}

impl From<NodeStatus> for Server {
    fn from(node: NodeStatus) -> Server {
        let NodeStatus { id, api_addr, addr, version, leader, reachable, error } = node;
        let address = if api_addr.is_empty() { addr } else { api_addr };
        Server {
            name: id,
            address,
            version: Some(version).filter(|version| !version.is_empty()),
            is_leader: leader,
            is_reachable: reachable,
            applied_index: None,
            error: error.filter(|error| !error.is_empty()),
        }
    }
}
