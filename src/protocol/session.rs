//! The operations of a connection, of the daemon, and of the store as a whole.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::NoBody;
use super::reads::FilterFields;
use super::request::{Acquire, Call, NoFields, Operations, With, outgoing};
use super::{Hello, Id, Status, Subscribed, reads, writes};
use crate::limits;
use crate::store::{Error, Filter, LockAcquire, Request, Result, Start, Subscribe, WriteOperation, whole_ms};

pub(super) fn show(operations: &mut impl Operations) {
    operations.add::<NoFields, InitBody>("init", |_| Ok(Request::Init.into()));
    operations.add::<NoFields, CompactedBody>("compact", |_| Ok(Request::Compact.into()));
    operations.add::<RestoreFields, RestoredBody>("restore", |RestoreFields { epoch }| {
        Ok(Request::Restore { epoch }.into())
    });
    operations.add::<With<FilterFields, SubscribeFields>, Subscribed>("subscribe", |subscribe| {
        subscribe.fields.into_subscribe(subscribe.group.into()).map(Call::Subscribe)
    });
    operations.add::<UnsubscribeFields, NoBody>("unsubscribe", |fields| {
        Id::of_field("subscription", &fields.subscription).map(Call::Unsubscribe)
    });
    operations.add::<CancelFields, NoBody>("cancel", |fields| {
        Id::of_field("target", &fields.target).map(Call::Cancel)
    });
    operations.add::<NoFields, Hello>("hello", |_| Ok(Call::Hello));
    operations.add::<NoFields, Status>("status", |_| Ok(Call::Status));
    operations.add::<NoFields, NoBody>("shutdown", |_| Ok(Call::Shutdown));
    operations.add::<NoFields, NoBody>("bye", |_| Ok(Call::Bye));
}

/// The line of a request; those that read or write the store are encoded in `reads` and `writes`.
pub(super) fn encode(id: &Id, call: &Call) -> Vec<u8> {
    match call {
        Call::Subscribe(subscribe) => {
            let group = FilterFields::from(subscribe.filter.clone());
            outgoing(id, "subscribe", &With { fields: SubscribeFields::from(subscribe), group })
        }
        Call::Unsubscribe(subscription) => {
            outgoing(id, "unsubscribe", &UnsubscribeFields { subscription: subscription.to_raw() })
        }
        Call::Acquire(acquire) => outgoing(id, "lock.acquire", &AcquireFields::from(acquire)),
        Call::Cancel(target) => outgoing(id, "cancel", &CancelFields { target: target.to_raw() }),
        Call::Hello => outgoing(id, "hello", &NoFields {}),
        Call::Status => outgoing(id, "status", &NoFields {}),
        Call::Shutdown => outgoing(id, "shutdown", &NoFields {}),
        Call::Bye => outgoing(id, "bye", &NoFields {}),
        Call::Store(Request::Init) => outgoing(id, "init", &NoFields {}),
        Call::Store(Request::Compact) => outgoing(id, "compact", &NoFields {}),
        Call::Store(Request::Restore { epoch }) => {
            outgoing(id, "restore", &RestoreFields { epoch: epoch.clone() })
        }
        Call::Store(Request::Read(read)) => reads::encode(id, read),
        Call::Store(Request::Write(write)) => writes::encode(id, write),
    }
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct SubscribeFields {
    /// The last seq that was seen, 0 = from the beginning; or `"now"`, which is the default. For a consumer that does
    /// not exist: where it begins, by default with the first change that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<AfterField>,
    /// Follow as the consumer of this name, whose position is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<String>,
    /// How long to wait while another session follows as that consumer, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_ms: Option<u64>,
    /// The epoch to which `after` belongs.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
}

/// A position in the stream.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "after")]
#[serde(untagged, expecting = "a seq or \"now\"")]
pub(super) enum AfterField {
    Seq(u64),
    Word(AfterWord),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "now")]
#[serde(rename_all = "lowercase")]
pub(super) enum AfterWord {
    Now,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UnsubscribeFields {
    /// The name of the subscription, as `subscribe` answered it: a string or an integer.
    #[schemars(with = "IdSchema")]
    subscription: Box<RawValue>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CancelFields {
    /// The id of the request that waits.
    #[schemars(with = "IdSchema")]
    target: Box<RawValue>,
}

/// The id of a request, or the name of a subscription.
#[derive(JsonSchema)]
#[schemars(rename = "id")]
#[serde(untagged)]
#[allow(dead_code, reason = "it is a schema only")]
pub(super) enum IdSchema {
    Text(String),
    Number(i64),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AcquireFields {
    name: String,
    /// The owner that acquires the lock; the same owner refreshes it.
    owner: String,
    /// How long the lock is held, in milliseconds.
    duration_ms: u64,
    /// How long to wait while another owner holds the lock, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait_ms: Option<u64>,
    /// Whether the lock is released when the connection ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    session: bool,
    /// Refresh the grant with this fence, even after it has expired, and make no other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fence: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RestoreFields {
    /// The epoch of the store that was staged beside the present one.
    epoch: String,
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
    (!wait.is_zero()).then(|| whole_ms(wait))
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
    fn into_subscribe(self, filter: Filter) -> Result<Subscribe> {
        Ok(Subscribe {
            start: self.after.map(Start::from),
            filter,
            consumer: self.consumer,
            wait: wait(self.wait_ms)?,
            epoch: self.epoch,
        })
    }
}

impl From<&Subscribe> for SubscribeFields {
    fn from(subscribe: &Subscribe) -> SubscribeFields {
        let Subscribe { start, filter: _, consumer, wait, epoch } = subscribe.clone();
        let (after, wait_ms) = (start.map(AfterField::from), wait_ms(wait));
        SubscribeFields { after, consumer, wait_ms, epoch }
    }
}

impl AcquireFields {
    pub(super) fn into_call(self) -> Result<Call> {
        let AcquireFields { name, owner, duration_ms, wait_ms, session, fence } = self;
        let acquire = LockAcquire { name, owner, duration: Duration::from_millis(duration_ms), fence };
        Ok(match wait(wait_ms)? {
            Duration::ZERO if !session => WriteOperation::LockAcquire(acquire).into(),
            wait => Call::Acquire(Acquire { acquire, wait, session }),
        })
    }
}

impl From<&Acquire> for AcquireFields {
    fn from(acquire: &Acquire) -> AcquireFields {
        let Acquire { acquire, wait, session } = acquire.clone();
        let LockAcquire { name, owner, duration, fence } = acquire;
        AcquireFields { name, owner, duration_ms: whole_ms(duration), wait_ms: wait_ms(wait), session, fence }
    }
}

/// The reply to `init`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct InitBody {
    /// False when the store existed already.
    pub(super) created: bool,
}

/// The reply to `compact`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct CompactedBody {
    /// The size of the store on the disk before, in bytes, with its log.
    pub(super) bytes_before: u64,
    /// Its size now, in bytes.
    pub(super) bytes_after: u64,
}

/// The reply to `restore`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct RestoredBody {
    /// The name of the file beside the store that holds the old store; missing when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) replaced: Option<String>,
}
