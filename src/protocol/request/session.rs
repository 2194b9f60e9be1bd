//! The fields of the operations that belong to a connection: subscriptions, what waits, and consumers.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{limit, signed};
use crate::limits;
use crate::protocol::Id;
use crate::store::{ConsumerCommit, ConsumerGet, Error, LockAcquire, Result, Start, Subscribe};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SubscribeFields {
    /// The last seq that was seen, 0 = from the beginning; or `"now"`, which is the default. Of a consumer, where it begins
    /// when it is not there: by default with the first change that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<AfterField>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    record_type: Option<String>,
    /// Follow under this name, whose position is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<String>,
    /// How long to wait while another session follows under that name, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_ms: Option<u64>,
    /// The history that `after` is a position of.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
}

/// A position in the stream.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "after")]
#[serde(untagged, expecting = "a seq or \"now\"")]
enum AfterField {
    Seq(u64),
    Word(AfterWord),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "now")]
#[serde(rename_all = "lowercase")]
enum AfterWord {
    Now,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnsubscribeFields {
    /// What `subscribe` answered: a string or an integer.
    #[schemars(with = "IdSchema")]
    subscription: Box<RawValue>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelFields {
    /// The id of the request that waits.
    #[schemars(with = "IdSchema")]
    target: Box<RawValue>,
}

/// What a request or a subscription is called by.
#[derive(JsonSchema)]
#[schemars(rename = "id")]
#[serde(untagged)]
#[allow(dead_code, reason = "it is a schema only")]
pub(in crate::protocol) enum IdSchema {
    Text(String),
    Number(i64),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AcquireFields {
    name: String,
    /// Who will hold it; the same owner refreshes it.
    owner: String,
    /// How long, in milliseconds.
    duration_ms: u64,
    /// How long to wait while somebody else holds it, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait_ms: Option<u64>,
    /// Whether the lock is released when the connection ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    session: bool,
    /// Refreshes the grant with this fence, also when it expired, and makes no other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fence: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsumerGetFields {
    name: String,
    /// Where it begins when it is not there: by default with the first change that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<AfterField>,
    /// How many at most; below 0 = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    record_type: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsumerCommitFields {
    name: String,
    /// The last seq that was dealt with.
    seq: u64,
    /// The session that follows as the consumer, as `subscribe` answered; on its own connection it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RestoreFields {
    /// The epoch of the store that was staged beside the one that is there.
    pub(super) epoch: String,
}

/// A lock that is asked for on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquire {
    /// The lock.
    pub acquire: LockAcquire,
    /// How long to wait for it.
    pub wait: Duration,
    /// Whether it is released when the connection ends.
    pub session: bool,
}

/// # Errors
/// `bad_request` for more than a day.
fn wait(wait_ms: Option<u64>) -> Result<Duration> {
    match wait_ms.unwrap_or(0) {
        wait_ms @ 0..=limits::TIMEOUT_MS => Ok(Duration::from_millis(wait_ms)),
        _ => Err(Error::bad_field("wait_ms", "wait_ms is a number of milliseconds, at most a day")),
    }
}

fn wait_ms(wait: Duration) -> Option<u64> {
    (!wait.is_zero()).then(|| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

impl From<AfterField> for Start {
    fn from(after: AfterField) -> Start {
        match after {
            AfterField::Word(AfterWord::Now) => Start::Now,
            AfterField::Seq(seq) => Start::After(seq),
        }
    }
}

impl From<Start> for AfterField {
    fn from(start: Start) -> AfterField {
        match start {
            Start::Now => AfterField::Word(AfterWord::Now),
            Start::After(seq) => AfterField::Seq(seq),
        }
    }
}

impl SubscribeFields {
    pub(super) fn into_subscribe(self) -> Result<Subscribe> {
        Ok(Subscribe {
            start: self.after.map(Start::from),
            prefix: self.prefix,
            record_type: self.record_type,
            consumer: self.consumer,
            wait: wait(self.wait_ms)?,
            epoch: self.epoch,
        })
    }
}

impl From<&Subscribe> for SubscribeFields {
    fn from(subscribe: &Subscribe) -> SubscribeFields {
        let Subscribe { start, prefix, record_type, consumer, wait, epoch } = subscribe.clone();
        let (after, wait_ms) = (start.map(AfterField::from), wait_ms(wait));
        SubscribeFields { after, prefix, record_type, consumer, wait_ms, epoch }
    }
}

impl UnsubscribeFields {
    pub(super) fn into_id(self) -> Result<Id> {
        Id::of_field("subscription", &self.subscription)
    }
}

impl From<&Id> for UnsubscribeFields {
    fn from(id: &Id) -> UnsubscribeFields {
        UnsubscribeFields { subscription: id.to_raw() }
    }
}

impl CancelFields {
    pub(super) fn into_id(self) -> Result<Id> {
        Id::of_field("target", &self.target)
    }
}

impl From<&Id> for CancelFields {
    fn from(id: &Id) -> CancelFields {
        CancelFields { target: id.to_raw() }
    }
}

impl AcquireFields {
    pub(super) fn into_acquire(self) -> Result<Acquire> {
        let AcquireFields { name, owner, duration_ms, wait_ms, session, fence } = self;
        let acquire = LockAcquire { name, owner, duration_ms, fence };
        Ok(Acquire { acquire, wait: wait(wait_ms)?, session })
    }
}

impl From<&Acquire> for AcquireFields {
    fn from(acquire: &Acquire) -> AcquireFields {
        let Acquire { acquire, wait, session } = acquire.clone();
        let LockAcquire { name, owner, duration_ms, fence } = acquire;
        AcquireFields { name, owner, duration_ms, wait_ms: wait_ms(wait), session, fence }
    }
}

impl ConsumerGetFields {
    pub(super) fn into_get(self) -> ConsumerGet {
        ConsumerGet {
            name: self.name,
            start: self.after.map(Start::from),
            limit: limit(self.limit),
            prefix: self.prefix,
            record_type: self.record_type,
        }
    }
}

impl From<&ConsumerGet> for ConsumerGetFields {
    fn from(get: &ConsumerGet) -> ConsumerGetFields {
        let ConsumerGet { name, start, limit, prefix, record_type } = get.clone();
        let (after, limit) = (start.map(AfterField::from), limit.map(signed));
        ConsumerGetFields { name, after, limit, prefix, record_type }
    }
}

impl ConsumerCommitFields {
    pub(super) fn into_commit(self) -> ConsumerCommit {
        ConsumerCommit { name: self.name, seq: self.seq, holder: self.holder }
    }
}

impl From<&ConsumerCommit> for ConsumerCommitFields {
    fn from(commit: &ConsumerCommit) -> ConsumerCommitFields {
        let ConsumerCommit { name, seq, holder } = commit.clone();
        ConsumerCommitFields { name, seq, holder }
    }
}
