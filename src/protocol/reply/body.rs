//! The members of replies.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::decode::{required, unusable};
use crate::store::{
    Action, Change, Code, Deleted, Error, JsonText, Lock, MutationResult, Record, Result, Timestamp, Written,
};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RecordBody {
    pub(super) key: String,
    pub(super) version: u64,
    pub(super) revision: u64,
    #[serde(rename = "type")]
    pub(super) record_type: Option<String>,
    pub(super) created: String,
    pub(super) updated: String,
    pub(super) value: Box<RawValue>,
}

impl From<Record> for RecordBody {
    fn from(record: Record) -> RecordBody {
        RecordBody {
            key: record.key,
            version: record.version,
            revision: record.revision,
            record_type: record.record_type,
            created: record.created.to_string(),
            updated: record.updated.to_string(),
            value: record.value.as_raw().to_owned(),
        }
    }
}

impl TryFrom<RecordBody> for Record {
    type Error = Error;

    fn try_from(body: RecordBody) -> Result<Record> {
        Ok(Record {
            key: body.key,
            version: body.version,
            revision: body.revision,
            record_type: body.record_type,
            created: body.created.parse()?,
            updated: body.updated.parse()?,
            value: JsonText::from_stored(body.value.get().to_owned())?,
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ChangeBody {
    pub(super) seq: u64,
    pub(super) tx: u64,
    pub(super) tx_end: bool,
    pub(super) action: String,
    pub(super) time: String,
    pub(super) record: RecordBody,
}

impl From<Change> for ChangeBody {
    fn from(change: Change) -> ChangeBody {
        ChangeBody {
            seq: change.seq,
            tx: change.tx,
            tx_end: change.tx_end,
            action: change.action.as_str().to_owned(),
            time: change.time.to_string(),
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
            time: body.time.parse()?,
            record: body.record.try_into()?,
        })
    }
}

/// The members of the flat replies of the store, and of the results of a mutate; which are there depends on the
/// operation.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deleted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trimmed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) released: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) held: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "crate::store::reply::present")]
    pub(super) value: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ErrorBody {
    pub(super) code: String,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) retry: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) maybe: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) holder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<String>,
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
            expires: details.expires_ms.map(|ms| Timestamp::from_unix_ms(ms).to_string()),
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
        error.details.expires_ms =
            body.expires.and_then(|text| text.parse().ok()).map(|time: Timestamp| time.unix_ms());
        error
    }
}

impl From<MutationResult> for Body {
    fn from(result: MutationResult) -> Body {
        match result {
            MutationResult::Written(Written { version, revision, value }) => Body {
                version: Some(version),
                revision: Some(revision),
                value: value.map(|value| value.as_raw().to_owned()),
                ..Body::default()
            },
            MutationResult::Deleted(Deleted { deleted, revision }) => {
                Body { deleted: Some(deleted), revision, ..Body::default() }
            }
            MutationResult::Checked => Body::default(),
        }
    }
}

impl TryFrom<Body> for MutationResult {
    type Error = Error;

    fn try_from(body: Body) -> Result<MutationResult> {
        if let Some(deleted) = body.deleted {
            return Ok(MutationResult::Deleted(Deleted { deleted, revision: body.revision }));
        }
        let Some(version) = body.version else { return Ok(MutationResult::Checked) };
        let value = body.value.map(|value| JsonText::from_stored(value.get().to_owned())).transpose()?;
        Ok(MutationResult::Written(Written { version, revision: required(body.revision)?, value }))
    }
}

/// A lock that is held.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LockBody {
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) fence: u64,
    pub(super) expires: String,
}

impl From<Lock> for LockBody {
    fn from(lock: Lock) -> LockBody {
        LockBody { name: lock.name, owner: lock.owner, fence: lock.fence, expires: lock.expires.to_string() }
    }
}

impl TryFrom<LockBody> for Lock {
    type Error = Error;

    fn try_from(body: LockBody) -> Result<Lock> {
        Ok(Lock { name: body.name, owner: body.owner, fence: body.fence, expires: body.expires.parse()? })
    }
}
