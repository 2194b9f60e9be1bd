//! The one error of the library: what a program, the protocol and the command line see.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::json_text::{JsonTextError, JsonTextErrorKind};

/// The result of an operation on a store.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request failed, in words for people and in fields for programs.
///
/// A write that failed was certainly not applied, unless [`maybe`](Error::maybe) is set.
///
/// It may be stored in a database as the outcome of a write, so fields are only ever added to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
#[non_exhaustive]
pub struct Error {
    /// What kind of failure this is.
    pub code: Code,
    /// What failed, on what.
    pub message: String,
    /// What to do next, when that is known.
    pub hint: Option<String>,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// Whether the write may have been applied: its outcome is unknown.
    pub maybe: bool,
    /// Fields that only some codes have; boxed because errors are rare and results are everywhere.
    pub details: Box<Details>,
}

/// Facts that some codes add to the message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Details {
    /// `version_mismatch`: the present version (or revision, when that was the condition); 0 for a missing key.
    /// `fenced`: the present fence of the lock, if it was not released.
    pub current: Option<u64>,
    /// The position of the failing mutation in a mutate, from 0.
    pub index: Option<usize>,
    /// `unknown_field`, `bad_request`: the field of the request.
    pub field: Option<String>,
    /// `trimmed`: the first record that is kept.
    pub first: Option<u64>,
    /// `locked`, `not_owner`: the owner that holds the lock.
    pub holder: Option<String>,
    /// `locked`, `not_owner`: when it expires, in milliseconds since 1970 UTC.
    pub expires_ms: Option<i64>,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// The kinds of failure. The list only ever grows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Code] = &[$(Code::$variant),*];

            /// The code as it stands on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text),* }
            }
        }
    };
}

codes! {
    /// The line is not a JSON object, or was cut off.
    ParseError = "parse_error",
    /// A field is missing, has the wrong type or a value that makes no sense.
    BadRequest = "bad_request",
    /// There is no such operation.
    UnknownOp = "unknown_op",
    /// The operation has no such field.
    UnknownField = "unknown_field",
    /// A line, key, value or set exceeds its limit.
    TooLarge = "too_large",
    /// There is no store at this place yet, or its schema is older than this version needs.
    NotInitialized = "not_initialized",
    /// There is no such key.
    NotFound = "not_found",
    /// The key is not at the version or revision that the condition names.
    VersionMismatch = "version_mismatch",
    /// An operation of a JSON Patch failed.
    PatchFailed = "patch_failed",
    /// The fencing token is not the lock's present one, or the lock was released.
    Fenced = "fenced",
    /// Another owner holds the lock.
    Locked = "locked",
    /// The lock is not held by this owner.
    NotOwner = "not_owner",
    /// The stream no longer has the change to start from.
    Trimmed = "trimmed",
    /// The position lies beyond the head of the stream.
    Future = "future",
    /// The position belongs to another history of this store.
    EpochChanged = "epoch_changed",
    /// Another session holds this consumer.
    ConsumerBusy = "consumer_busy",
    /// Other writers kept the store for too long.
    Busy = "busy",
    /// No answer within the time that the request allowed.
    Timeout = "timeout",
    /// The request was cancelled.
    Cancelled = "cancelled",
    /// The store cannot be written to.
    ReadOnly = "read_only",
    /// No space is left for the store.
    StoreFull = "store_full",
    /// The daemon serves as many connections as it may.
    TooManyConnections = "too_many_connections",
    /// The daemon or the database cannot be reached, or its files are damaged.
    Unavailable = "unavailable",
    /// This version of kv cannot do that, or cannot use this store.
    Unsupported = "unsupported",
    /// A rule inside kv is broken.
    Internal = "internal",
}

impl Code {
    /// The code of this name.
    #[must_use]
    pub fn from_name(text: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error {
    /// An error with a code and a message. The same request may succeed later after `busy`, `timeout`, `unavailable`,
    /// `store_full`, `too_many_connections`, `locked` and `consumer_busy`, so these start with `retry` set.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        let retry = matches!(
            code,
            Code::Busy
                | Code::Timeout
                | Code::Unavailable
                | Code::StoreFull
                | Code::TooManyConnections
                | Code::Locked
                | Code::ConsumerBusy
        );
        Error { code, message: message.into(), hint: None, retry, maybe: false, details: Box::default() }
    }

    /// A `bad_request` about one field.
    pub fn bad_field(field: &str, message: impl Into<String>) -> Error {
        let mut error = Error::new(Code::BadRequest, message);
        error.details.field = Some(field.to_owned());
        error
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Marks the outcome of a write as unknown.
    #[must_use]
    pub fn unknown(mut self) -> Error {
        self.maybe = true;
        self
    }

    /// Adds the position of the failing mutation.
    #[must_use]
    pub fn at_index(mut self, index: usize) -> Error {
        self.details.index = Some(index);
        self
    }
}

/// The error for a request that its client has cancelled.
pub(crate) fn cancelled() -> Error {
    Error::new(Code::Cancelled, "the request was cancelled")
}

impl From<JsonTextError> for Error {
    fn from(error: JsonTextError) -> Error {
        match error.kind {
            JsonTextErrorKind::TooDeep => Error::new(Code::TooLarge, error.to_string())
                .hint("nest less, or store the inner part as a string"),
            _ => Error::new(Code::BadRequest, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_kept_by_the_name_that_it_has_on_the_wire() {
        for &code in Code::ALL {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("{:?}", code.as_str()));
            assert_eq!(Code::from_name(code.as_str()), Some(code));
        }
    }
}
