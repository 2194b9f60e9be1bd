//! The requests and replies about consumers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::ChangeBody;
use super::request::{limit, signed};
use super::session::AfterField;
use crate::store::{Consumer, ConsumerCommit, ConsumerGet, Filter, Start, Timestamp};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsumerGetFields {
    name: String,
    /// Where the consumer begins when it does not exist: by default with the first change that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<AfterField>,
    /// The most changes; below 0 = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsumerCommitFields {
    name: String,
    /// The last seq that was dealt with.
    seq: u64,
    /// The session that follows as the consumer, as `subscribe` answered; not needed on the connection of that session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
}

impl ConsumerGetFields {
    pub(super) fn into_get(self, filter: Filter) -> ConsumerGet {
        let ConsumerGetFields { name, after, limit: count } = self;
        ConsumerGet { name, start: after.map(Start::from), limit: limit(count), filter }
    }
}

impl From<&ConsumerGet> for ConsumerGetFields {
    fn from(get: &ConsumerGet) -> ConsumerGetFields {
        let ConsumerGet { name, start, limit, filter: _ } = get.clone();
        let (after, limit) = (start.map(AfterField::from), limit.map(signed));
        ConsumerGetFields { name, after, limit }
    }
}

impl ConsumerCommitFields {
    pub(super) fn into_commit(self, filter: Filter) -> ConsumerCommit {
        let ConsumerCommitFields { name, seq, holder } = self;
        ConsumerCommit { name, seq, holder, filter }
    }
}

impl From<&ConsumerCommit> for ConsumerCommitFields {
    fn from(commit: &ConsumerCommit) -> ConsumerCommitFields {
        let ConsumerCommit { name, seq, holder, filter: _ } = commit.clone();
        ConsumerCommitFields { name, seq, holder }
    }
}

/// The reply to `consumer.commit`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct PositionBody {
    /// The last seq that was dealt with; it never goes back.
    pub(super) position: u64,
}

/// The reply to `consumer.delete`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct ForgottenBody {
    /// False when there was no such consumer.
    pub(super) deleted: bool,
}

/// The reply to `consumer.get`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct ConsumedBody {
    /// The head of the stream in the snapshot of this read.
    pub(super) seq: u64,
    /// The last seq that was dealt with.
    pub(super) position: u64,
    pub(super) records: Vec<ChangeBody>,
    /// The first seq that was not examined; to commit all of these changes, commit the seq before it.
    pub(super) next: u64,
}

/// The progress of a consumer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConsumerStatusBody {
    /// The last seq that was dealt with.
    pub(super) position: u64,
    /// The head of the stream.
    pub(super) head: u64,
    /// How many changes of the store are still to be dealt with.
    pub(super) lag: u64,
    #[serde(flatten)]
    pub(super) details: ConsumerDetailsBody,
}

impl ConsumerStatusBody {
    /// The progress of a consumer, against the head of the stream.
    #[must_use]
    pub fn new(consumer: Consumer, head: u64) -> ConsumerStatusBody {
        let ConsumerBody { name: _, position, details } = consumer.into();
        ConsumerStatusBody { position, head, lag: head.saturating_sub(position), details }
    }

    pub(super) fn into_consumer(self, name: String) -> Consumer {
        ConsumerBody { name, position: self.position, details: self.details }.into()
    }
}

/// A consumer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "consumer")]
pub(super) struct ConsumerBody {
    pub(super) name: String,
    /// The last seq that was dealt with.
    pub(super) position: u64,
    #[serde(flatten)]
    pub(super) details: ConsumerDetailsBody,
}

/// What is known of a consumer besides its position.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "consumer_details")]
pub(super) struct ConsumerDetailsBody {
    /// The time of the oldest change that is still to be dealt with, in RFC 3339; missing when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    waiting_since: Option<Timestamp>,
    /// The key whose changes it wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    key: Option<String>,
    /// The prefix of the keys whose changes it wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    prefix: Option<String>,
    /// The type of the records whose changes it wants.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    record_type: Option<String>,
    #[serde(flatten)]
    holder: Option<SessionBody>,
}

/// The session that follows the stream as a consumer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "session")]
pub(super) struct SessionBody {
    pub(super) holder: String,
    /// RFC 3339, UTC, with three decimals; the session renews it.
    #[schemars(with = "String")]
    pub(super) expires: Timestamp,
}

impl From<Consumer> for ConsumerBody {
    fn from(consumer: Consumer) -> ConsumerBody {
        let Consumer { name, position, filter, waiting_since, holder, expires } = consumer;
        let Filter { key, prefix, record_type } = filter;
        let holder = holder.zip(expires).map(|(holder, expires)| SessionBody { holder, expires });
        ConsumerBody {
            name,
            position,
            details: ConsumerDetailsBody { waiting_since, key, prefix, record_type, holder },
        }
    }
}

impl From<ConsumerBody> for Consumer {
    fn from(ConsumerBody { name, position, details }: ConsumerBody) -> Consumer {
        let ConsumerDetailsBody { waiting_since, key, prefix, record_type, holder } = details;
        let (holder, expires) = holder.map(|session| (session.holder, session.expires)).unzip();
        Consumer {
            name,
            position,
            filter: Filter { key, prefix, record_type },
            waiting_since,
            holder,
            expires,
        }
    }
}
