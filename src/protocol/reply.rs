//! Replies: what a request is answered with.

mod body;
mod decode;
mod encode;

use serde::{Deserialize, Serialize};

pub use self::decode::decode_reply;
pub(crate) use self::decode::read;
pub use self::encode::encode_reply;
use super::{Id, PROTOCOL};
use crate::store::Reply;

/// What a line is answered with.
#[derive(Debug)]
pub enum Answer {
    /// The store's.
    Store(Reply),
    /// To `hello`.
    Hello(Hello),
    /// To `shutdown` and `bye`.
    Done,
}

/// Who a daemon is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// The version of kv.
    pub version: String,
    /// The number of the protocol.
    pub protocol: u32,
    /// The process, for people.
    pub pid: u32,
    /// The kind of engine.
    pub engine: String,
    /// Where the store is, without any password.
    pub store: String,
    /// Which store it is; missing while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_id: Option<String>,
    /// Which history of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// Connections that are served now.
    #[serde(default)]
    pub connections: usize,
}

impl Hello {
    /// This process as the daemon of a store.
    #[must_use]
    pub fn of_this_process(engine: &str, store: String) -> Hello {
        Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            pid: std::process::id(),
            engine: engine.to_owned(),
            store,
            store_id: None,
            epoch: None,
            connections: 0,
        }
    }
}
