//! Changes of records: what a write, or one line of a mutate, asks for.

use std::time::Duration;

use super::check::{check_keys, check_value};
use super::{Expire, ExpiryChange, Import, Increment, Selector};
use crate::store::error::{Error, Result};
use crate::store::json_text::JsonText;
use crate::store::keys::{check_key, check_name};

/// A change of records, or a check of one.
///
/// ```
/// use kv::store::{Check, Code, Condition, Delete, JsonText, Mutation, Put, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// # let store = kv::open(":memory:")?;
/// # store.init().await?;
/// store.put(Put::new("draft", JsonText::of("text")?)).await?;
/// let publish = vec![
///     Mutation::Check(Check::new("published", Condition { exists: Some(false), ..Condition::default() })),
///     Mutation::Put(Put::new("published", JsonText::of("text")?)),
///     Mutation::Delete(Delete::keys(["draft"])),
/// ];
/// store.mutate_all(publish.clone()).await?;
/// assert_eq!(store.count().await?, 1);
///
/// // All or none: the check fails by now, so nothing is written.
/// let error = store.mutate_all(publish).await.unwrap_err();
/// assert_eq!((error.code, error.details.index), (Code::VersionMismatch, Some(0)));
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// Stores a value.
    Put(Put),
    /// Changes a part of a value.
    Patch(Patch),
    /// Removes records.
    Delete(Delete),
    /// Stores a record as it was in another store.
    Import(Import),
    /// Sets or removes the expiry of a record.
    Expire(Expire),
    /// Adds to a number.
    Increment(Increment),
    /// Changes nothing, and fails unless a condition holds.
    Check(Check),
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
    /// What happens to the expiry of the record: unless it is said otherwise, the record stays, also when it had one before.
    pub expiry: ExpiryChange,
}

impl Put {
    /// A put without a condition that keeps the type of the record.
    #[must_use]
    pub fn new(key: impl Into<String>, value: JsonText) -> Put {
        let (condition, record_type) = (Condition::default(), TypeChange::Keep);
        Put { key: key.into(), value, condition, record_type, expiry: ExpiryChange::Clear }
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

    /// Puts only if the key is present.
    #[must_use]
    pub fn if_present(mut self) -> Put {
        self.condition.exists = Some(true);
        self
    }

    /// Makes the record expire after this time.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Put {
        self.expiry = ExpiryChange::After(ttl);
        self
    }

    /// Keeps the expiry of the record.
    #[must_use]
    pub fn keep_ttl(mut self) -> Put {
        self.expiry = ExpiryChange::Keep;
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
    /// What happens to the expiry of the record.
    pub expiry: ExpiryChange,
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
            expiry: ExpiryChange::Keep,
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
#[non_exhaustive]
pub enum PatchFormat {
    /// JSON Merge Patch, RFC 7396. On a missing key it is applied to `{}`. What it does not touch keeps its text.
    #[default]
    Merge,
    /// JSON Patch, RFC 6902. A missing key is `not_found`. It may respell numbers and drops duplicate members.
    JsonPatch,
}

/// What must hold for a write to happen. Several may be given; the number 0 stands for an absent key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Condition {
    /// The present version of the key.
    pub version: Option<u64>,
    /// The present revision of the key.
    pub revision: Option<u64>,
    /// Whether the key is present: false says the same as version 0.
    pub exists: Option<bool>,
}

impl Condition {
    /// The condition of numbers as they are given on the wire and on the command line: -1, too, says that a number is not
    /// looked at.
    ///
    /// # Errors
    /// `bad_request` for a number below -1, with the field.
    pub fn of_numbers(version: Option<i64>, revision: Option<i64>) -> Result<Condition> {
        let number = |field: &str, number: Option<i64>| match number {
            None | Some(-1) => Ok(None),
            Some(number) => u64::try_from(number).map(Some).map_err(|_| {
                Error::bad_field(
                    field,
                    format!("{field} is -1 (any), 0 (only if the key is absent) or above"),
                )
            }),
        };
        let (version, revision) = (number("version", version)?, number("revision", revision)?);
        Ok(Condition { version, revision, exists: None })
    }
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
///
/// A selection by itself has no bound. Up to [`DELETE_SLICE_RECORDS`](crate::limits::DELETE_SLICE_RECORDS) records are removed
/// in one transaction. More are removed slice by slice, in key order, each in a transaction and as a call of its own in the
/// stream, so that others need not wait for all of it: they see it half done, and may write in between. It removes at most as
/// many records as there were when it began. It is answered at the end, with the sum. When a slice behind the first one fails, as
/// when its fence is lost, the disk is full or the store is closed, the error is that of the cause with
/// [`maybe`](crate::store::Error::maybe) set, and tells how many records are gone: the same delete again removes the rest.
/// With an id that is applied [`once`](crate::store::Write::once), that repeat is answered with the sum of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Which records.
    pub target: Target,
    /// What must hold; only together with exactly one key.
    pub condition: Condition,
    /// So many of the present records are passed over first.
    pub offset: u64,
    /// At most so many are removed.
    pub limit: Option<u64>,
}

/// Which records a delete covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Those of these keys (at most 1,000), in this order; absent ones are passed over, and a key that stands twice
    /// counts once.
    Keys(Vec<String>),
    /// Those that a selection by key covers, in key order. An empty prefix is refused: [`Selector::All`] says that
    /// every record is meant.
    Selection(Selector),
}

impl Delete {
    /// Removes these keys.
    #[must_use]
    pub fn keys<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Delete {
        Delete::of(Target::Keys(keys.into_iter().map(Into::into).collect()))
    }

    /// Removes the keys that start with this, which is not empty.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> Delete {
        Delete::of(Target::Selection(Selector::Prefix(prefix.into())))
    }

    /// Removes the keys with `from <= key < to`.
    #[must_use]
    pub fn range(from: impl Into<String>, to: impl Into<String>) -> Delete {
        Delete::of(Target::Selection(Selector::Range { from: from.into(), to: to.into() }))
    }

    /// Removes every key.
    #[must_use]
    pub fn all() -> Delete {
        Delete::of(Target::Selection(Selector::All))
    }

    fn of(target: Target) -> Delete {
        Delete { target, condition: Condition::default(), offset: 0, limit: None }
    }
}

/// Changes nothing, and fails unless a condition on a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The key.
    pub key: String,
    /// What must hold.
    pub condition: Condition,
}

impl Check {
    /// Fails unless this holds for the key.
    #[must_use]
    pub fn new(key: impl Into<String>, condition: Condition) -> Check {
        Check { key: key.into(), condition }
    }
}

impl Mutation {
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Mutation::Put(put) => {
                check_key(&put.key)?;
                put.record_type.check()?;
                put.expiry.check()?;
                check_value(&put.value)
            }
            Mutation::Patch(patch) => {
                check_key(&patch.key)?;
                patch.record_type.check()?;
                patch.expiry.check()?;
                check_value(&patch.patch)
            }
            Mutation::Delete(delete) => delete.check(),
            Mutation::Import(import) => import.check(),
            Mutation::Expire(expire) => expire.check(),
            Mutation::Increment(increment) => increment.check(),
            Mutation::Check(check) => {
                check_key(&check.key)?;
                if check.condition == Condition::default() {
                    return Err(Error::bad_field("version", "a check names a version, a revision or exists"));
                }
                Ok(())
            }
        }
    }

    pub(super) fn weight_bytes(&self) -> usize {
        match self {
            Mutation::Put(put) => put.key.len() + put.value.get().len(),
            Mutation::Patch(patch) => patch.key.len() + patch.patch.get().len(),
            Mutation::Delete(Delete { target: Target::Keys(keys), .. }) => keys.iter().map(String::len).sum(),
            Mutation::Delete(Delete { target: Target::Selection(_), .. }) => 0,
            Mutation::Expire(expire) => expire.key.len(),
            Mutation::Increment(increment) => increment.key.len() + increment.by.get().len(),
            Mutation::Import(import) => import.key.len() + import.value.get().len(),
            Mutation::Check(check) => check.key.len(),
        }
    }
}

fn condition_of_many() -> Error {
    Error::bad_field("version", "a condition goes with exactly one key")
        .hint("a mutate can check several keys before it deletes")
}

impl Delete {
    fn check(&self) -> Result<()> {
        match &self.target {
            Target::Keys(keys) => {
                check_keys(keys)?;
                if self.condition != Condition::default() && keys.len() != 1 {
                    return Err(condition_of_many());
                }
                Ok(())
            }
            Target::Selection(_) if self.condition != Condition::default() => Err(condition_of_many()),
            Target::Selection(Selector::Type(_)) => {
                Err(Error::bad_field("type", "records cannot be deleted by their type")
                    .hint("list the type, and delete the keys"))
            }
            Target::Selection(Selector::Prefix(prefix)) if prefix.is_empty() => {
                Err(Error::bad_field("prefix", "an empty prefix is every record")
                    .hint("say so: \"all\":true, or --all on the command line"))
            }
            Target::Selection(selector) => selector.check(),
        }
    }
}

/// That of a write whose record has this type, or none.
impl From<Option<String>> for TypeChange {
    fn from(record_type: Option<String>) -> TypeChange {
        record_type.map_or(TypeChange::Clear, TypeChange::Set)
    }
}

impl TypeChange {
    pub(super) fn check(&self) -> Result<()> {
        if let TypeChange::Set(record_type) = self { check_name("type", record_type) } else { Ok(()) }
    }
}
