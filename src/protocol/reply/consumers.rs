//! The members of the replies about consumers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::ChangeBody;
use crate::store::{Consumer, Error, Result};

/// To `consumer.commit`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct PositionBody {
    /// The last seq that was dealt with; it never goes back.
    pub(super) position: u64,
}

/// To `consumer.delete`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct ForgottenBody {
    /// False when there was no such consumer.
    pub(super) deleted: bool,
}

/// To `consumer.get`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct ConsumedBody {
    /// The head of the stream in the snapshot of this read.
    pub(super) seq: u64,
    /// The last seq that was dealt with.
    pub(super) position: u64,
    pub(super) records: Vec<ChangeBody>,
    /// The first seq that was not examined; committing the one before it deals with all of these.
    pub(super) next: u64,
}

/// To `consumer.status`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct ConsumerStatusBody {
    /// The last seq that was dealt with.
    pub(super) position: u64,
    /// The head of the stream.
    pub(super) head: u64,
    /// How many changes of the store are still to be dealt with.
    pub(super) lag: u64,
    #[serde(flatten)]
    pub(super) holder: Option<SessionBody>,
}

/// A consumer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "consumer")]
pub(super) struct ConsumerBody {
    pub(super) name: String,
    /// The last seq that was dealt with.
    pub(super) position: u64,
    #[serde(flatten)]
    pub(super) holder: Option<SessionBody>,
}

/// The session that follows the stream as a consumer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "session")]
pub(super) struct SessionBody {
    pub(super) holder: String,
    /// RFC 3339, UTC, with three decimals; the session renews it.
    pub(super) expires: String,
}

impl SessionBody {
    pub(super) fn of(consumer: &Consumer) -> Option<SessionBody> {
        let (holder, expires) = consumer.holder.clone().zip(consumer.expires)?;
        Some(SessionBody { holder, expires: expires.to_string() })
    }

    pub(super) fn into_consumer(body: Option<SessionBody>, name: String, position: u64) -> Result<Consumer> {
        let (holder, expires) = match body {
            Some(SessionBody { holder, expires }) => (Some(holder), Some(expires.parse()?)),
            None => (None, None),
        };
        Ok(Consumer { name, position, holder, expires })
    }
}

impl From<Consumer> for ConsumerBody {
    fn from(consumer: Consumer) -> ConsumerBody {
        let holder = SessionBody::of(&consumer);
        ConsumerBody { name: consumer.name, position: consumer.position, holder }
    }
}

impl TryFrom<ConsumerBody> for Consumer {
    type Error = Error;

    fn try_from(body: ConsumerBody) -> Result<Consumer> {
        SessionBody::into_consumer(body.holder, body.name, body.position)
    }
}
