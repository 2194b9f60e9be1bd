//! The description that a daemon gives of itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::limits;
use crate::protocol::{Id, PROTOCOL};
use crate::store::{Address, Identity};

/// A daemon: its version, its process and its store.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Hello {
    /// The version of kv.
    pub version: String,
    /// The number of the protocol. Messages are only ever added to within a number.
    pub protocol: u32,
    /// The newest schema that the daemon knows.
    pub schema: i64,
    /// The pid of the daemon, for people.
    pub pid: u32,
    /// Whether a command started the daemon, and so may replace it by a newer one.
    pub spawned: bool,
    /// The unit of systemd whose main process the daemon is; missing when it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub unit: Option<String>,
    /// The number of subscriptions, waiting requests and locks of connections, which would end with the daemon. It is
    /// not replaced while there are any.
    #[serde(default)]
    pub attached: usize,
    /// The kind of engine.
    pub engine: String,
    /// Where the store is, without any password.
    pub store: String,
    /// The file that holds the store, as `DEVICE:INODE`; missing while there is none. A client uses a daemon only when
    /// this is the file that it wants: the same path may lead to another file in another container or after a rename.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub file: Option<String>,
    /// The directory of that file, as `DEVICE:INODE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub directory: Option<String>,
    /// The id of the store; missing while there is no store, or it does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub store_id: Option<String>,
    /// The id of the history of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub epoch: Option<String>,
    /// The limits of a request.
    pub limits: Limits,
}

impl Hello {
    /// The description of this process as the daemon of a store.
    #[must_use]
    pub fn of_this_process(address: &Address, spawned: bool) -> Hello {
        Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            schema: address.schema(),
            pid: std::process::id(),
            spawned,
            unit: None,
            attached: 0,
            engine: address.kind().as_str().to_owned(),
            store: address.to_string(),
            file: None,
            directory: None,
            store_id: None,
            epoch: None,
            limits: Limits::default(),
        }
    }

    /// The ids of the store, if there is one.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        Some(Identity { store_id: self.store_id.clone()?, epoch: self.epoch.clone()? })
    }
}

/// The limits of requests, and of how many may be under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "limits")]
pub struct Limits {
    /// The longest line, in bytes without its newline.
    pub line_bytes: usize,
    /// The largest value, in bytes of its text without white space.
    pub value_bytes: usize,
    /// The deepest nesting of arrays and objects in a value.
    pub value_depth: usize,
    /// The longest key, in bytes.
    pub key_bytes: usize,
    /// The most keys of one request.
    pub keys: usize,
    /// The most mutations of one mutate.
    pub mutations: usize,
    /// The most records of one page.
    pub page_records: usize,
    /// A page ends after the record that passes this many bytes.
    pub page_bytes: usize,
    /// Requests of one connection that are under way; more wait.
    pub connection_requests: usize,
    /// Connections that are served at once.
    pub connections: usize,
    /// The longest `timeout_ms`.
    pub timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            line_bytes: limits::LINE_BYTES,
            value_bytes: limits::VALUE_BYTES,
            value_depth: limits::VALUE_DEPTH,
            key_bytes: limits::KEY_BYTES,
            keys: limits::KEYS_PER_REQUEST,
            mutations: limits::MUTATIONS_PER_REQUEST,
            page_records: limits::PAGE_RECORDS,
            page_bytes: limits::PAGE_BYTES,
            connection_requests: limits::CONNECTION_REQUESTS,
            connections: limits::CONNECTIONS,
            timeout_ms: limits::TIMEOUT_MS,
        }
    }
}

/// The reply to `subscribe`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Subscribed {
    /// The name of the subscription in its events: the id of the request, or a number when it had none.
    #[schemars(with = "super::session::IdSchema")]
    pub subscription: Box<RawValue>,
    /// The head of the stream when the subscription began.
    pub seq: u64,
    /// The id of the store that it follows.
    pub store_id: String,
    /// The id of the history that it follows: positions are valid only within it.
    pub epoch: String,
    /// For a consumer: the session, for commits on another connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

impl Subscribed {
    /// The subscription with this name, and the session of a consumer.
    #[must_use]
    pub fn new(
        subscription: &Id,
        seq: u64,
        Identity { store_id, epoch }: Identity,
        holder: Option<String>,
    ) -> Subscribed {
        Subscribed { subscription: subscription.to_raw(), seq, store_id, epoch, holder }
    }
}
