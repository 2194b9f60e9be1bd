//! What a store holds: records, and the changes that made them.

use serde::de::DeserializeOwned;

use super::error::{Error, Result};
use super::json_text::JsonText;
use super::time::Timestamp;

/// One key with its value, as it is stored or read into a type of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<T = JsonText> {
    /// The key: 1 to 1,024 bytes of UTF-8 without NUL, ordered bytewise.
    pub key: String,
    /// The number of writes of this key: 1, 2, 3, … and again from 1 after a delete.
    pub version: u64,
    /// The seq of the last change of this key. It is unique in the store and never reused, so it is the safe token for
    /// compare-and-set.
    pub revision: u64,
    /// A name of the program's choice, by which listings and the stream can filter.
    pub record_type: Option<String>,
    /// When this key was created.
    pub created: Timestamp,
    /// When this key was last written.
    pub updated: Timestamp,
    /// From when on the record is gone, unless it is written again before; none = it stays.
    pub expires: Option<Timestamp>,
    /// The value; as [`JsonText`] the exact text that was written, without the white space between its tokens.
    pub value: T,
}

/// What a change did to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The key did not exist before.
    Create,
    /// The key existed before.
    Update,
    /// The key was removed; the change carries its last record.
    Delete,
    /// The time of the record was over; the change carries it.
    Expire,
}

impl Action {
    /// Whether the key is absent behind such a change.
    #[must_use]
    pub fn removes(self) -> bool {
        matches!(self, Action::Delete | Action::Expire)
    }

    /// Every action.
    pub const ALL: &[Action] = &[Action::Create, Action::Update, Action::Delete, Action::Expire];

    /// The action as it is stored and sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::Expire => "expire",
        }
    }

    /// The action of this name.
    #[must_use]
    pub fn from_name(text: &str) -> Option<Action> {
        Action::ALL.iter().copied().find(|action| action.as_str() == text)
    }
}

/// One record of the stream: a committed change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The number of the change in the stream: 1, 2, 3, … without a hole, in commit order.
    pub seq: u64,
    /// The seq of the first change of the same call: all changes of one mutate share it.
    pub tx: u64,
    /// Whether this is the last change of its call.
    pub tx_end: bool,
    /// What the change did.
    pub action: Action,
    /// When the change was made.
    pub time: Timestamp,
    /// The record after the change; for a delete or an expiry the last record before it.
    pub record: Record,
}

impl Change {
    /// A change that is a call of its own.
    #[must_use]
    pub fn new(seq: u64, action: Action, time: Timestamp, record: Record) -> Change {
        Change { seq, tx: seq, tx_end: true, action, time, record }
    }

    /// The record as it is after the change; none when the change removed it.
    #[must_use]
    pub fn remaining(self) -> Option<Record> {
        match self.action {
            Action::Create | Action::Update => Some(self.record),
            Action::Delete | Action::Expire => None,
        }
    }
}

impl<T> Record<T> {
    /// The first version of a record, written at this time, without a type and an expiry, and with the revision 0, as it has none
    /// before a store gives it one.
    #[must_use]
    pub fn new(key: impl Into<String>, value: T, written: Timestamp) -> Record<T> {
        let (created, updated) = (written, written);
        let key = key.into();
        Record { key, version: 1, revision: 0, record_type: None, created, updated, expires: None, value }
    }
}

impl Record {
    /// The value, read into a type of the program.
    ///
    /// # Errors
    /// `bad_request` when the value does not fit the type, with the key in the message.
    pub fn value_as<T: DeserializeOwned>(&self) -> Result<T> {
        self.value.to().map_err(|error| {
            let fit =
                format!("the value of {} does not fit {}: {error}", self.key, std::any::type_name::<T>());
            Error::bad_field("value", fit)
        })
    }

    /// The record with its value read into a type of the program.
    ///
    /// # Errors
    /// As [`value_as`](Record::value_as).
    pub fn into_typed<T: DeserializeOwned>(self) -> Result<Record<T>> {
        let value = self.value_as()?;
        let Record { key, version, revision, record_type, created, updated, expires, value: _ } = self;
        Ok(Record { key, version, revision, record_type, created, updated, expires, value })
    }
}
