//! The present state of a daemon, as `status` tells it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hello::Hello;
use crate::limits;
use crate::store::{Result, Server, Servers};

/// A daemon, and its present state.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    #[allow(missing_docs, reason = "its members are those of the status")]
    #[serde(flatten)]
    pub hello: Hello,
    /// When it was started: RFC 3339, UTC, with three decimals.
    pub started: String,
    /// Connections that are served now.
    pub connections: usize,
    /// The connected processes, including the one that asks, as far as they are visible from here; at most 100 of them.
    #[serde(default)]
    pub processes: Vec<i32>,
    /// How long it has run, in milliseconds.
    #[serde(default)]
    pub uptime_ms: u64,
    /// The seq of the last change; missing while there is no store, or it does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub head: Option<u64>,
    /// The requests that were answered.
    #[serde(default)]
    pub requests: RequestFigures,
    /// The batches of writes that were committed.
    #[serde(default)]
    pub commits: CommitFigures,
    /// How many subscriptions there are.
    #[serde(default)]
    pub subscriptions: usize,
    /// Those that are farthest behind the head, at most 100 of them.
    #[serde(default)]
    pub slowest_subscriptions: Vec<SubscriptionStatus>,
    /// The bytes of small requests and replies under way.
    pub in_flight_bytes: usize,
    /// The number of large requests and replies under way.
    pub large_in_flight: usize,
    /// The servers behind the store, where it has any: the nodes of rqlite, or the server of PostgreSQL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ServerStatus>,
    /// What should be looked at, in sentences for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Requests since the start of a daemon.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "requests")]
pub struct RequestFigures {
    /// How many were answered.
    pub count: u64,
    /// How many of these with an error, by its code.
    pub errors: BTreeMap<String, u64>,
    /// The sum of the times that they took, in seconds. Requests that may wait for a lock or a consumer,
    /// and those that were refused at once, are not in it.
    pub seconds: f64,
    /// How many these were.
    #[serde(default)]
    pub timed: u64,
    /// How many wait for a lock or a consumer now.
    pub waiting: usize,
    /// Those of the last one to two minutes.
    pub recent: RecentFigures,
}

/// Batches of writes since the start of a daemon: each is one transaction.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "commits")]
pub struct CommitFigures {
    /// How many were committed.
    pub count: u64,
    /// How many writes they held.
    pub writes: u64,
    /// The sum of the times that they took, in seconds.
    pub seconds: f64,
    /// Those of the last one to two minutes.
    pub recent: RecentFigures,
    /// How many writes half of the recent ones had at most.
    pub recent_writes_p50: u64,
    /// How many writes the largest of the recent ones had.
    pub recent_writes_max: u64,
}

/// The times that something took recently, in microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "recent")]
pub struct RecentFigures {
    /// The time over which these were measured, in seconds.
    pub seconds: f64,
    /// How many there were.
    pub count: u64,
    /// Half of them took at most this.
    pub p50_us: u64,
    /// Nine of ten took at most this.
    pub p90_us: u64,
    /// 99 of 100 took at most this.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl RecentFigures {
    /// How many there were in a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.count as f64 / self.seconds } else { 0.0 }
    }
}

/// A subscription, and how far it has come.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "subscription_status")]
pub struct SubscriptionStatus {
    /// The process that follows, as far as it is visible from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32")]
    pub process: Option<i32>,
    /// The key whose changes it wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub key: Option<String>,
    /// The prefix of the keys that it wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub prefix: Option<String>,
    /// The type of the records that it wants.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub record_type: Option<String>,
    /// The consumer as which it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub consumer: Option<String>,
    /// The last seq that was examined for it.
    pub seq: u64,
    /// How many changes there are behind that seq.
    pub lag: u64,
}

/// One of the servers of a store.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "server")]
pub struct ServerStatus {
    /// What the servers call it.
    pub name: String,
    /// Its address, as it tells it.
    pub address: String,
    /// Its version; missing when it cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub version: Option<String>,
    /// Whether it leads the others.
    pub leader: bool,
    /// Whether the others reach it.
    pub reachable: bool,
    /// The last entry of the common log that it has carried out; missing when it cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub applied_index: Option<u64>,
    /// Why it is not reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub error: Option<String>,
}

impl Status {
    /// Adds what the servers behind the store tell.
    #[must_use]
    pub fn with_servers(mut self, told: Result<Servers>) -> Status {
        let (servers, warnings) = server_statuses(told);
        self.servers = servers;
        self.warnings.extend(warnings);
        self
    }
}

/// What servers tell of themselves, and warnings in sentences for people.
#[must_use]
pub fn server_statuses(told: Result<Servers>) -> (Vec<ServerStatus>, Vec<String>) {
    match told {
        Ok(Servers { servers, clock_ahead_ms, mut warnings }) => {
            if clock_ahead_ms.abs() > limits::CLOCK_DIFFERENCE_MS {
                let (amount, direction) =
                    (clock_ahead_ms.abs(), if clock_ahead_ms > 0 { "ahead of" } else { "behind" });
                warnings
                    .push(format!("the clock of the server is {amount} ms {direction} that of this machine"));
            }
            (servers.into_iter().map(ServerStatus::from).collect(), warnings)
        }
        Err(error) => {
            (Vec::new(), vec![format!("the servers of the store do not tell what they are: {error}")])
        }
    }
}

impl From<Server> for ServerStatus {
    fn from(server: Server) -> ServerStatus {
        let Server { name, address, version, is_leader, is_reachable, applied_index, error } = server;
        ServerStatus {
            name,
            address,
            version,
            leader: is_leader,
            reachable: is_reachable,
            applied_index,
            error,
        }
    }
}
