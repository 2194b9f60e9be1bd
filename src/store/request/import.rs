//! Records that come from elsewhere, with their history in numbers and times.

use super::check::check_value;
use crate::limits;
use crate::store::error::{Error, Result};
use crate::store::json_text::JsonText;
use crate::store::keys::{check_key, check_name};
use crate::store::record::Record;
use crate::store::time::Timestamp;

/// Stores a record as it was in another store: with its version and its times. Only its revision is a new one, as that of every
/// write.
///
/// When the same record is there already, nothing is written, so an import can be repeated.
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
    /// The version, from 1 to [`limits::IMPORTED_VERSION`].
    pub version: u64,
    /// When the key was created.
    pub created: Timestamp,
    /// When the key was last written.
    pub updated: Timestamp,
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
        let on_conflict = OnConflict::Fail;
        Import { key, value, record_type, version, created, updated, expires, on_conflict }
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
        if !(1..=limits::IMPORTED_VERSION).contains(&self.version) {
            let message = format!("version is a number from 1 to {}", limits::IMPORTED_VERSION);
            return Err(Error::bad_field("version", message));
        }
        let times =
            [("created", Some(self.created)), ("updated", Some(self.updated)), ("expires", self.expires)];
        for (field, time) in times {
            if time.is_some_and(|time| !limits::TIME_MS.contains(&time.unix_ms())) {
                return Err(Error::bad_field(field, format!("{field} is a time from the year 0 to 9999")));
            }
        }
        check_value(&self.value)
    }
}
