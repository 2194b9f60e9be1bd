//! Bodies that several replies and events share. The types are also the schema: the doc comments of their members are
//! what `kv protocol --schema` prints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::consumers::ConsumerBody;
use super::records::RecordBody;
use super::reply::unusable;
use crate::store::{Action, Change, Code, Error, Lock, Page, Result, Timestamp};

/// Converts between a body and a type of the store that has the same members.
macro_rules! same_members {
    ($body:ident = $type:ident { $($member:ident),+ }) => {
        impl From<$type> for $body {
            fn from($type { $($member),+ }: $type) -> $body {
                $body { $($member),+ }
            }
        }

        impl From<$body> for $type {
            fn from($body { $($member),+ }: $body) -> $type {
                $type { $($member),+ }
            }
        }
    };
}
pub(super) use same_members;

/// No members.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "nothing")]
pub(super) struct NoBody {}

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
    /// `create`, `update`, `delete` or `expire`; clients ignore others.
    pub(super) action: String,
    /// RFC 3339, UTC, with three decimals.
    #[schemars(with = "String")]
    pub(super) time: Timestamp,
    /// The record after the change; of a delete or an expiry the last one.
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

/// The owner of a lock, and its grant.
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
    /// Whether an owner holds the lock; the other members are present only then.
    pub(super) held: bool,
    #[serde(flatten)]
    pub(super) holder: Option<HolderBody>,
}

impl From<Option<Lock>> for LockStateBody {
    fn from(lock: Option<Lock>) -> LockStateBody {
        LockStateBody { held: lock.is_some(), holder: lock.map(HolderBody::from) }
    }
}

// The items of a page are under the name of their kind.
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
            /// Where the next page begins.
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
pub(super) struct ErrorBody {
    /// One of a list that only ever grows.
    pub(super) code: String,
    /// For people.
    pub(super) message: String,
    /// What the user can do, for people.
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
    /// `locked`, `not_owner`: the owner that holds the lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) holder: Option<String>,
    /// `locked`: when the lock expires.
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
        // The code of a newer daemon is shown as it is.
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
