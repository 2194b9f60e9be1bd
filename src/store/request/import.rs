//! Records that come from elsewhere, with their history in numbers and times.

use super::check::check_value;
use crate::limits;
use crate::store::error::{Error, Result};
use crate::store::json_text::JsonText;
use crate::store::keys::{check_key, check_name};
use crate::store::record::Record;
use crate::store::time::Timestamp;

/// Stores a record as it was in another store: with its version and its times, where they are known. Only its revision is a new
/// one, as that of every write.
///
/// When the same record is there already, nothing is written, so an import can be repeated. What is not given is not compared. The
/// version of a key never goes back: a record that takes the place of another one gets a later version than that one.
///
/// ```
/// use kv::store::{Import, OnConflict, Record};
///
/// fn as_it_was(record: Record) -> Import {
///     Import::of(record).on_conflict(OnConflict::Skip)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The key.
    pub key: String,
    /// The value, up to 8 MiB.
    pub value: JsonText,
    /// The type; none = the record has none.
    pub record_type: Option<String>,
    /// The version, from 1 to [`limits::IMPORTED_VERSION`]; none = the next one of the key, as that of a put. In the place of
    /// another record it is the larger one of the two.
    pub version: Option<u64>,
    /// When the key was created; none = when it was written, if that is given, otherwise as for a put.
    pub created: Option<Timestamp>,
    /// When the key was last written; none = when it was created, if that is given, otherwise now.
    pub updated: Option<Timestamp>,
    /// From when on the record is gone; none = it stays. A record that is gone already is not stored.
    pub expires: Option<Timestamp>,
    /// What happens when another record is there.
    pub on_conflict: OnConflict,
}

/// What an import does when its key is there with another record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// It fails with `version_mismatch`.
    #[default]
    Fail,
    /// It leaves that record as it is.
    Skip,
    /// It puts its own record in the place of that one.
    Overwrite,
}

impl Import {
    /// The import of this record, which fails when its key is there with another one.
    #[must_use]
    pub fn of(record: Record) -> Import {
        let Record { key, version, revision: _, record_type, created, updated, expires, value } = record;
        let (version, created, updated) = (Some(version), Some(created), Some(updated));
        let on_conflict = OnConflict::Fail;
        Import { key, value, record_type, version, created, updated, expires, on_conflict }
    }

    /// Whether this record of the key is what the import would store: nothing that the import gives differs, but for a version
    /// that is later because the record took the place of another one.
    #[must_use]
    pub fn is_stored_as(&self, record: &Record) -> bool {
        let Record { key, version, revision: _, record_type, created, updated, expires, value } = record;
        *key == self.key
            && *value == self.value
            && self.is_all_but_value(*version, record_type.as_deref(), (*created, *updated, *expires))
    }

    /// [`is_stored_as`](Import::is_stored_as), for whom the value is not at hand. The times are those of creation, update and
    /// expiry.
    pub(in crate::store) fn is_all_but_value(
        &self,
        version: u64,
        record_type: Option<&str>,
        (created, updated, expires): (Timestamp, Timestamp, Option<Timestamp>),
    ) -> bool {
        self.version.is_none_or(|imported| imported <= version)
            && self.record_type.as_deref() == record_type
            && self.created.is_none_or(|imported| imported == created)
            && self.updated.is_none_or(|imported| imported == updated)
            && self.expires == expires
    }

    /// Says what happens when another record is there.
    #[must_use]
    pub fn on_conflict(mut self, on_conflict: OnConflict) -> Import {
        self.on_conflict = on_conflict;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        check_key(&self.key)?;
        self.record_type.as_ref().map_or(Ok(()), |name| check_name("type", name))?;
        if self.version.is_some_and(|version| !(1..=limits::IMPORTED_VERSION).contains(&version)) {
            let message = format!("version is a number from 1 to {}", limits::IMPORTED_VERSION);
            return Err(Error::bad_field("version", message));
        }
        let times = [("created", self.created), ("updated", self.updated), ("expires", self.expires)];
        for (field, time) in times {
            if time.is_some_and(|time| !limits::TIME_MS.contains(&time.unix_ms())) {
                return Err(Error::bad_field(field, format!("{field} is a time from the year 0 to 9999")));
            }
        }
        check_value(&self.value)
    }
}
