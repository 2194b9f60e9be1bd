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

impl From<ConsumerCommitFields> for ConsumerCommit {
    fn from(ConsumerCommitFields { name, seq, holder }: ConsumerCommitFields) -> ConsumerCommit {
        ConsumerCommit { name, seq, holder }
    }
}

impl From<&ConsumerCommit> for ConsumerCommitFields {
    fn from(commit: &ConsumerCommit) -> ConsumerCommitFields {
        let ConsumerCommit { name, seq, holder } = commit.clone();
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
    pub(super) holder: Option<SessionBody>,
}

impl ConsumerStatusBody {
    /// The progress of a consumer, against the head of the stream.
    #[must_use]
    pub fn new(consumer: &Consumer, head: u64) -> ConsumerStatusBody {
        let position = consumer.position;
        ConsumerStatusBody {
            position,
            head,
            lag: head.saturating_sub(position),
            holder: SessionBody::of(consumer),
        }
    }

    pub(super) fn into_consumer(self, name: String) -> Consumer {
        ConsumerBody { name, position: self.position, holder: self.holder }.into()
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
    pub(super) holder: Option<SessionBody>,
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

impl SessionBody {
    fn of(consumer: &Consumer) -> Option<SessionBody> {
        let (holder, expires) = consumer.holder.clone().zip(consumer.expires)?;
        Some(SessionBody { holder, expires })
    }
}

impl From<Consumer> for ConsumerBody {
    fn from(consumer: Consumer) -> ConsumerBody {
        let holder = SessionBody::of(&consumer);
        ConsumerBody { name: consumer.name, position: consumer.position, holder }
    }
}

impl From<ConsumerBody> for Consumer {
    fn from(ConsumerBody { name, position, holder }: ConsumerBody) -> Consumer {
        let (holder, expires) = holder.map(|session| (session.holder, session.expires)).unzip();
        Consumer { name, position, holder, expires }
    }
}
