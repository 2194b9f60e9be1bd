//! What can be asked of a store, and what it answers.
//!
//! A [`Request`] is data, so that one function of a [`Store`](super::Store) carries every operation, whether the
//! store is in this process or behind a socket.

mod check;

pub(crate) use check::check_value;

use super::json_text::JsonText;
use super::keys::KeyRange;
use super::record::{Change, Record};

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Creates the store, or brings its schema up to date.
    Init,
    /// Changes the store.
    Write(Write),
    /// Reads the store.
    Read(Read),
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What to do.
    pub operation: WriteOperation,
}

impl From<WriteOperation> for Write {
    fn from(operation: WriteOperation) -> Write {
        Write { operation }
    }
}

/// The operations that change a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOperation {
    /// One mutation.
    Apply(Mutation),
}

/// A change of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutation {
    /// Stores a value.
    Put(Put),
    /// Changes a part of a value.
    Patch(Patch),
    /// Removes records.
    Delete(Delete),
}

/// Stores a value under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: String,
    /// The value, up to 8 MiB.
    pub value: JsonText,
    /// What must hold for the put to happen.
    pub condition: Condition,
    /// What happens to the type of the record.
    pub record_type: TypeChange,
}

impl Put {
    /// A put without a condition that keeps the type of the record.
    #[must_use]
    pub fn new(key: impl Into<String>, value: JsonText) -> Put {
        Put { key: key.into(), value, condition: Condition::default(), record_type: TypeChange::Keep }
    }

    /// Puts only if the key is at this version; 0 = only if it is absent.
    #[must_use]
    pub fn if_version(mut self, version: u64) -> Put {
        self.condition.version = Some(version);
        self
    }

    /// Puts only if the last change of the key has this stream number; 0 = only if the key is absent.
    #[must_use]
    pub fn if_revision(mut self, revision: u64) -> Put {
        self.condition.revision = Some(revision);
        self
    }

    /// Gives the record a type of 1 to 256 bytes.
    #[must_use]
    pub fn of_type(mut self, record_type: impl Into<String>) -> Put {
        self.record_type = TypeChange::Set(record_type.into());
        self
    }
}

/// Changes a part of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The key.
    pub key: String,
    /// The patch, up to 8 MiB.
    pub patch: JsonText,
    /// How the patch is read.
    pub format: PatchFormat,
    /// What must hold for the patch to happen.
    pub condition: Condition,
    /// What happens to the type of the record.
    pub record_type: TypeChange,
    /// Answer the new value too.
    pub return_value: bool,
}

impl Patch {
    /// A merge patch without a condition that keeps the type of the record.
    #[must_use]
    pub fn merge(key: impl Into<String>, patch: JsonText) -> Patch {
        Patch {
            key: key.into(),
            patch,
            format: PatchFormat::Merge,
            condition: Condition::default(),
            record_type: TypeChange::Keep,
            return_value: false,
        }
    }

    /// A JSON Patch without a condition that keeps the type of the record.
    #[must_use]
    pub fn json_patch(key: impl Into<String>, patch: JsonText) -> Patch {
        Patch { format: PatchFormat::JsonPatch, ..Patch::merge(key, patch) }
    }
}

/// How a patch is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PatchFormat {
    /// JSON Merge Patch, RFC 7396. On a missing key it is applied to `{}`. What it does not touch keeps its text.
    #[default]
    Merge,
    /// JSON Patch, RFC 6902. A missing key is `not_found`. It may respell numbers and drops duplicate members.
    JsonPatch,
}

/// What must hold for a write to happen. Both may be given; 0 stands for an absent key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Condition {
    /// The present version of the key.
    pub version: Option<u64>,
    /// The present revision of the key.
    pub revision: Option<u64>,
}

/// What a write does to the type of its record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TypeChange {
    /// The record keeps its type; a new one has none.
    #[default]
    Keep,
    /// The record has no type any more.
    Clear,
    /// The record has this type.
    Set(String),
}

/// Removes records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Which keys; absent ones are passed over, and a key that stands twice counts once.
    pub keys: Vec<String>,
    /// What must hold; only together with exactly one key.
    pub condition: Condition,
    /// So many of the present records are passed over first.
    pub offset: u64,
    /// At most so many are removed.
    pub limit: Option<u64>,
}

impl Delete {
    /// Removes these keys.
    #[must_use]
    pub fn keys<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Delete {
        Delete {
            keys: keys.into_iter().map(Into::into).collect(),
            condition: Condition::default(),
            offset: 0,
            limit: None,
        }
    }
}

/// The operations that only read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// One record.
    Get {
        /// Its key.
        key: String,
    },
    /// The records of these keys, in the order asked for; missing ones are left out, and a key that stands twice is
    /// answered once.
    GetBatch {
        /// At most 1,000 keys.
        keys: Vec<String>,
    },
    /// A page of records in key order.
    List(List),
    /// How many records there are.
    Count(Selector),
    /// A page of the stream.
    Stream(Stream),
    /// The bounds of the stream.
    StreamSeq,
    /// Which store this is.
    Identity,
}

/// Which records a listing or a count covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Selector {
    /// All of them.
    #[default]
    All,
    /// Those whose key starts with this.
    Prefix(String),
    /// Those with `from <= key < to`.
    Range {
        /// The first key.
        from: String,
        /// The first key after the range.
        to: String,
    },
    /// Those of this type.
    Type(String),
}

impl Selector {
    /// The keys that can be selected.
    #[must_use]
    pub fn key_range(&self) -> KeyRange {
        match self {
            Selector::All | Selector::Type(_) => KeyRange::all(),
            Selector::Prefix(prefix) => KeyRange::prefix(prefix),
            Selector::Range { from, to } => KeyRange { from: from.clone(), to: Some(to.clone()) },
        }
    }

    /// The type that is selected.
    #[must_use]
    pub fn record_type(&self) -> Option<&str> {
        match self {
            Selector::Type(record_type) => Some(record_type),
            _ => None,
        }
    }
}

/// A page of records in key order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// Which records.
    pub selector: Selector,
    /// So many are passed over first: the cost grows with it, the one of `after` does not.
    pub offset: u64,
    /// At most so many; none = all. A page ends earlier at 1,000 records or 1 MiB.
    pub limit: Option<u64>,
    /// Only keys beyond this one, in the direction of the listing.
    pub after: Option<String>,
    /// From the last key to the first.
    pub reverse: bool,
    /// Answer the keys alone.
    pub keys_only: bool,
}

/// A page of the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// The first seq to look at; 0 = the first that is kept.
    pub seq: u64,
    /// At most so many; none = all. A page ends earlier at 1,000 changes or 1 MiB.
    pub limit: Option<u64>,
    /// Only changes of keys that start with this.
    pub prefix: Option<String>,
    /// Only changes of records of this type.
    pub record_type: Option<String>,
}

/// What a store answers. Every read carries `seq`, the head of the stream in the snapshot it was read at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To `Init`.
    Init {
        /// False when the store was there already.
        created: bool,
    },
    /// To `Put` and `Patch`.
    Written(Written),
    /// To `Delete`.
    Deleted(Deleted),
    /// To `Get`.
    Get {
        /// The head of the snapshot.
        seq: u64,
        /// None when the key is absent.
        record: Option<Record>,
    },
    /// To `GetBatch` and `List`.
    Records(Page<Record>),
    /// To `List` with `keys_only`.
    Keys(Page<String>),
    /// To `Count`.
    Count {
        /// The head of the snapshot.
        seq: u64,
        /// How many records.
        count: u64,
    },
    /// To `Stream`.
    Changes(Changes),
    /// To `StreamSeq`.
    Head {
        /// The last seq, 0 on a fresh store.
        seq: u64,
        /// The first seq that is kept, or that will be.
        first: u64,
    },
    /// To `Identity`.
    Identity(Identity),
}

/// Where a written record stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its new version.
    pub version: u64,
    /// Its new revision.
    pub revision: u64,
    /// Its new value, when a patch asked for it.
    pub value: Option<JsonText>,
}

/// What a delete removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// How many records.
    pub deleted: u64,
    /// The stream number of the last one's delete.
    pub revision: Option<u64>,
}

/// Part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The head of the stream in the snapshot of this page.
    pub seq: u64,
    /// The items, in order.
    pub items: Vec<T>,
    /// Where to go on, when there is more: the `after` of the next `List`; for `GetBatch` the first key that was
    /// not answered.
    pub next: Option<String>,
}

/// Part of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The head of the stream in the snapshot of this page.
    pub seq: u64,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// The first seq that was not examined.
    pub next: u64,
}

/// Which store this is: a copy has the same `store_id`, a restored one a new `epoch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Random, made by init.
    pub store_id: String,
    /// Random, made by init: numbers of the stream compare only within one epoch.
    pub epoch: String,
}
