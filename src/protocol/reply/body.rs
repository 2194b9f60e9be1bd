//! The members of replies, besides `id` and `ok`. The types are the schema too: what is said of a member here is what
//! `kv protocol --schema` prints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::consumers::ConsumerBody;
use super::decode::unusable;
use crate::store::{
    Action, Change, Code, Deleted, Error, Grant, JsonText, Lock, MutationResult, Page, Record, Result,
    Timestamp, Written,
};

/// A record.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "record")]
pub struct RecordBody {
    pub(super) key: String,
    /// Counts the writes of this key; begins at 1 again after a delete.
    pub(super) version: u64,
    /// The number in the stream of the last change of this key; never used twice in a store.
    pub(super) revision: u64,
    #[serde(rename = "type")]
    pub(super) record_type: Option<String>,
    /// RFC 3339, UTC, with three decimals.
    #[schemars(with = "String")]
    pub(super) created: Timestamp,
    /// RFC 3339, UTC, with three decimals.
    #[schemars(with = "String")]
    pub(super) updated: Timestamp,
    /// Any JSON, in the text that was stored.
    #[schemars(with = "serde_json::Value")]
    pub(super) value: JsonText,
}

impl From<Record> for RecordBody {
    fn from(record: Record) -> RecordBody {
        RecordBody {
            key: record.key,
            version: record.version,
            revision: record.revision,
            record_type: record.record_type,
            created: record.created,
            updated: record.updated,
            value: record.value,
        }
    }
}

impl From<RecordBody> for Record {
    fn from(body: RecordBody) -> Record {
        Record {
            key: body.key,
            version: body.version,
            revision: body.revision,
            record_type: body.record_type,
            created: body.created,
            updated: body.updated,
            value: body.value,
        }
    }
}

/// A change of the stream.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "change")]
pub struct ChangeBody {
    /// 1, 2, 3, … without a hole, in commit order.
    pub(super) seq: u64,
    /// The seq of the first change of the same call.
    pub(super) tx: u64,
    /// Whether this is the last change of its call.
    pub(super) tx_end: bool,
    /// `create`, `update` or `delete`; clients ignore others.
    pub(super) action: String,
    /// RFC 3339, UTC, with three decimals.
    #[schemars(with = "String")]
    pub(super) time: Timestamp,
    /// The record after the change; of a delete the last one.
    pub(super) record: RecordBody,
}

impl From<Change> for ChangeBody {
    fn from(change: Change) -> ChangeBody {
        ChangeBody {
            seq: change.seq,
            tx: change.tx,
            tx_end: change.tx_end,
            action: change.action.as_str().to_owned(),
            time: change.time,
            record: change.record.into(),
        }
    }
}

impl TryFrom<ChangeBody> for Change {
    type Error = Error;

    fn try_from(body: ChangeBody) -> Result<Change> {
        let action = Action::from_name(&body.action)
            .ok_or_else(|| unusable(&format!("the action {:?} is unknown", body.action)))?;
        Ok(Change {
            seq: body.seq,
            tx: body.tx,
            tx_end: body.tx_end,
            action,
            time: body.time,
            record: body.record.into(),
        })
    }
}

/// A lock that is held.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "lock")]
pub(super) struct LockBody {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) holder: HolderBody,
}

impl From<Lock> for LockBody {
    fn from(lock: Lock) -> LockBody {
        LockBody { name: lock.name.clone(), holder: lock.into() }
    }
}

impl From<LockBody> for Lock {
    fn from(LockBody { name, holder }: LockBody) -> Lock {
        holder.into_lock(name)
    }
}

/// Who holds a lock.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct HolderBody {
    pub(super) owner: String,
    /// Grows with every grant of any lock of the store.
    pub(super) fence: u64,
    /// RFC 3339, UTC, with three decimals.
    #[schemars(with = "String")]
    pub(super) expires: Timestamp,
}

impl HolderBody {
    pub(super) fn into_lock(self, name: String) -> Lock {
        Lock { name, owner: self.owner, fence: self.fence, expires: self.expires }
    }
}

impl From<Lock> for HolderBody {
    fn from(Lock { owner, fence, expires, .. }: Lock) -> HolderBody {
        HolderBody { owner, fence, expires }
    }
}

/// Whether a lock is held, and by whom.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LockStateBody {
    /// Whether somebody holds the lock; the other members are there only then.
    pub(super) held: bool,
    #[serde(flatten)]
    pub(super) holder: Option<HolderBody>,
}

impl From<Option<Lock>> for LockStateBody {
    fn from(lock: Option<Lock>) -> LockStateBody {
        LockStateBody { held: lock.is_some(), holder: lock.map(HolderBody::from) }
    }
}

/// To `init`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct InitBody {
    /// False when the store was there already.
    pub(super) created: bool,
}

/// To `put` and `patch`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "written")]
pub struct WrittenBody {
    /// The new version.
    pub(super) version: u64,
    /// The new revision.
    pub(super) revision: u64,
    /// The new value, when a patch asked for it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::store::reply::present"
    )]
    #[schemars(with = "serde_json::Value")]
    pub(super) value: Option<JsonText>,
}

impl From<Written> for WrittenBody {
    fn from(Written { version, revision, value }: Written) -> WrittenBody {
        WrittenBody { version, revision, value }
    }
}

impl From<WrittenBody> for Written {
    fn from(WrittenBody { version, revision, value }: WrittenBody) -> Written {
        Written { version, revision, value }
    }
}

/// To `delete`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "deleted")]
pub struct DeletedBody {
    /// How many records.
    pub(super) deleted: u64,
    /// The revision of the last one's delete; missing when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub(super) revision: Option<u64>,
}

impl From<Deleted> for DeletedBody {
    fn from(Deleted { deleted, revision }: Deleted) -> DeletedBody {
        DeletedBody { deleted, revision }
    }
}

impl From<DeletedBody> for Deleted {
    fn from(DeletedBody { deleted, revision }: DeletedBody) -> Deleted {
        Deleted { deleted, revision }
    }
}

/// No member.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "nothing")]
pub struct NoBody {}

/// What one mutation of a mutate did.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "result")]
#[serde(untagged)]
pub enum ResultBody {
    /// A put or a patch.
    Written(WrittenBody),
    /// A delete.
    Deleted(DeletedBody),
    /// A check.
    Checked(NoBody),
}

impl From<MutationResult> for ResultBody {
    fn from(result: MutationResult) -> ResultBody {
        match result {
            MutationResult::Written(written) => ResultBody::Written(written.into()),
            MutationResult::Deleted(deleted) => ResultBody::Deleted(deleted.into()),
            MutationResult::Checked => ResultBody::Checked(NoBody {}),
        }
    }
}

/// To `mutate`.
#[derive(Serialize, JsonSchema)]
pub(super) struct ResultsBody {
    /// One for each mutation, in order.
    pub(super) results: Vec<ResultBody>,
}

/// To `stream.trim`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct TrimmedBody {
    /// How many changes were removed.
    pub(super) trimmed: u64,
}

/// To `lock.acquire`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct GrantBody {
    /// The fencing token: it grows with every grant of any lock, a refresh keeps it.
    pub(super) fence: u64,
    /// RFC 3339, UTC, with three decimals.
    #[schemars(with = "String")]
    pub(super) expires: Timestamp,
}

impl From<Grant> for GrantBody {
    fn from(Grant { fence, expires, .. }: Grant) -> GrantBody {
        GrantBody { fence, expires }
    }
}

impl From<GrantBody> for Grant {
    fn from(GrantBody { fence, expires }: GrantBody) -> Grant {
        Grant { fence, refreshes: 0, expires }
    }
}

/// To `lock.release`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct ReleasedBody {
    /// False when the lock was free.
    pub(super) released: bool,
}

/// To `get` of one key.
#[derive(Serialize, JsonSchema)]
pub(super) struct GetBody {
    /// The head of the stream in the snapshot of this read.
    pub(super) seq: u64,
    #[serde(flatten)]
    pub(super) record: RecordBody,
}

/// To `count`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct CountBody {
    /// The head of the stream in the snapshot of this read.
    pub(super) seq: u64,
    pub(super) count: u64,
}

/// To `stream.seq`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct HeadBody {
    /// The last seq; 0 on a fresh store.
    pub(super) seq: u64,
    /// The first seq that is kept, or that will be.
    pub(super) first: u64,
}

/// To `stream.get`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct ChangesBody {
    /// The head of the stream in the snapshot of this read.
    pub(super) seq: u64,
    pub(super) records: Vec<ChangeBody>,
    /// The first seq that was not examined.
    pub(super) next: u64,
}

/// To `lock.status`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct LockStatusBody {
    /// The head of the stream in the snapshot of this read.
    pub(super) seq: u64,
    #[serde(flatten)]
    pub(super) state: LockStateBody,
}

/// To `compact`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct CompactedBody {
    /// What the store took on the disk, with its log.
    pub(super) bytes_before: u64,
    /// What it takes now.
    pub(super) bytes_after: u64,
}

/// To `restore`.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct RestoredBody {
    /// The file that the store before is kept in, beside the store; missing when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(super) replaced: Option<String>,
}

// The items of a page stand under the name of what they are.
macro_rules! page_body {
    ($body:ident, $items:ident: $item:ty) => {
        /// A page of a listing.
        #[derive(Serialize, Deserialize, JsonSchema)]
        pub(super) struct $body {
            /// The head of the stream in the snapshot of this page.
            seq: u64,
            $items: Vec<$item>,
            /// Whether the page ends before the listing does.
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            more: bool,
            /// Where to go on.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(with = "String")]
            next: Option<String>,
        }

        impl $body {
            pub(super) fn of<T: Into<$item>>(Page { seq, items, next }: Page<T>) -> $body {
                let $items = items.into_iter().map(Into::into).collect();
                $body { seq, $items, more: next.is_some(), next }
            }

            pub(super) fn into_page<T: From<$item>>(self) -> Page<T> {
                let items = self.$items.into_iter().map(T::from).collect();
                Page { seq: self.seq, items, next: self.next }
            }
        }
    };
}

page_body!(RecordsBody, records: RecordBody);
page_body!(KeysBody, keys: String);
page_body!(LocksBody, locks: LockBody);
page_body!(ConsumersBody, consumers: ConsumerBody);

/// Why a request failed.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "error")]
pub(in crate::protocol) struct ErrorBody {
    /// One of a list that only ever grows.
    pub(super) code: String,
    /// For people.
    pub(super) message: String,
    /// What to do, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
    /// Whether the same request may succeed later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) retry: bool,
    /// Whether a write may have been applied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) maybe: bool,
    /// `version_mismatch`: the present version or revision, 0 = absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<u64>,
    /// Which mutation of a mutate failed, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<usize>,
    /// Which field of the request is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    /// `trimmed`: the first seq that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<u64>,
    /// `locked`, `not_owner`: who holds the lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) holder: Option<String>,
    /// `locked`: until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(super) expires: Option<Timestamp>,
}

impl From<Error> for ErrorBody {
    fn from(error: Error) -> ErrorBody {
        let details = *error.details;
        ErrorBody {
            code: error.code.as_str().to_owned(),
            message: error.message,
            hint: error.hint,
            retry: error.retry,
            maybe: error.maybe,
            current: details.current,
            index: details.index,
            field: details.field,
            first: details.first,
            holder: details.holder,
            expires: details.expires_ms.map(Timestamp::from_unix_ms),
        }
    }
}

impl From<ErrorBody> for Error {
    fn from(body: ErrorBody) -> Error {
        // A code of a newer daemon is shown in its own words.
        let code = Code::from_name(&body.code).unwrap_or(Code::Internal);
        let mut error = Error::new(code, body.message);
        error.hint = body.hint;
        error.retry = body.retry;
        error.maybe = body.maybe;
        error.details.current = body.current;
        error.details.index = body.index;
        error.details.field = body.field;
        error.details.first = body.first;
        error.details.holder = body.holder;
        error.details.expires_ms = body.expires.map(Timestamp::unix_ms);
        error
    }
}
