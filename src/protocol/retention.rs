//! How much of the stream is kept, in requests and replies.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::{Retention, whole_ms};

/// How much of the stream is kept: the fields of `stream.retain`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "retention")]
pub struct RetentionFields {
    /// Changes that are older than this are removed, in milliseconds; missing = none for its age.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<u64>,
    /// All but so many of the newest changes are removed; missing = none for their number.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// Whether a change that a consumer has not dealt with is kept in any case.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keep_for_consumers: bool,
}

impl From<RetentionFields> for Retention {
    fn from(RetentionFields { age_ms, count, keep_for_consumers }: RetentionFields) -> Retention {
        Retention { age: age_ms.map(Duration::from_millis), count, unread: keep_for_consumers }
    }
}

impl From<Retention> for RetentionFields {
    fn from(Retention { age, count, unread }: Retention) -> RetentionFields {
        let age_ms = age.map(whole_ms);
        RetentionFields { age_ms, count, keep_for_consumers: unread }
    }
}

/// The reply to `stream.retention`. It is not strict, as the fields are: a newer daemon may have further members.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct RetentionBody {
    /// The head of the stream in the snapshot of this read.
    pub(super) seq: u64,
    /// Changes that are older than this are removed, in milliseconds; missing = none for its age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    age_ms: Option<u64>,
    /// All but so many of the newest changes are removed; missing = none for their number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// Whether a change that a consumer has not dealt with is kept in any case.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    keep_for_consumers: bool,
}

impl RetentionBody {
    pub(super) fn new(seq: u64, retention: Retention) -> RetentionBody {
        let RetentionFields { age_ms, count, keep_for_consumers } = retention.into();
        RetentionBody { seq, age_ms, count, keep_for_consumers }
    }
}

impl From<RetentionBody> for Retention {
    fn from(RetentionBody { seq: _, age_ms, count, keep_for_consumers }: RetentionBody) -> Retention {
        RetentionFields { age_ms, count, keep_for_consumers }.into()
    }
}
