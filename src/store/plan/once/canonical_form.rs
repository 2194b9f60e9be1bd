//! The canonical form of a write: the bytes whose hash tells a repeat from another request under the same id.
//!
//! The form is spelled out here and derived from nothing, because its hashes stand in databases: renaming a type, or
//! adding a field to one, must not make a repeat look like another request. It is
//!
//! ```text
//! form  = version write
//! write = operation field* 0
//! field = number length content        length: 4 bytes, big endian
//! ```
//!
//! where the version, an operation and the number of a field are one byte each. A field that a request does not use is left
//! out, so a field that is added later changes the form of no request without it. A list is its field once for each
//! element. The content of a mutation in a mutate is its `write`; its length is 0, because a write ends itself. Numbers
//! are 8 bytes, big endian. No number of this file is ever used for anything else; `tests/golden/once.txt` holds hashes
//! that every later version must compute.

use sha2::{Digest as _, Sha256};

use crate::store::request::{
    Check, Condition, Delete, Expire, ExpiryChange, Import, Increment, Mutation, OnConflict, Patch,
    PatchFormat, Put, Selector, Target, Trim, TypeChange, WriteOperation,
};
use crate::store::time::{Timestamp, whole_ms};

/// The version of the form, which is its first byte and stands before the hash too.
const VERSION: u8 = 1;

/// The operations.
mod operation {
    pub(super) const PUT: u8 = 1;
    pub(super) const PATCH: u8 = 2;
    pub(super) const DELETE: u8 = 3;
    pub(super) const CHECK: u8 = 4;
    pub(super) const MUTATE: u8 = 5;
    pub(super) const TRIM: u8 = 6;
    pub(super) const IMPORT: u8 = 7;
    pub(super) const EXPIRE: u8 = 8;
    pub(super) const INCREMENT: u8 = 9;
}

/// The fields of all operations. 0 is the end of a write.
mod field {
    pub(super) const END: u8 = 0;
    pub(super) const KEY: u8 = 1;
    pub(super) const VALUE: u8 = 2;
    pub(super) const IF_VERSION: u8 = 3;
    pub(super) const IF_REVISION: u8 = 4;
    /// The type that the record gets.
    pub(super) const TYPE: u8 = 5;
    /// The record loses its type; without content.
    pub(super) const CLEAR_TYPE: u8 = 6;
    pub(super) const MERGE_PATCH: u8 = 7;
    pub(super) const JSON_PATCH: u8 = 8;
    /// The new value is answered; without content.
    pub(super) const RETURN: u8 = 9;
    pub(super) const PREFIX: u8 = 10;
    pub(super) const FROM: u8 = 11;
    pub(super) const TO: u8 = 12;
    /// Every record, or every change; without content.
    pub(super) const ALL: u8 = 13;
    pub(super) const OFFSET: u8 = 14;
    pub(super) const LIMIT: u8 = 15;
    pub(super) const MUTATION: u8 = 16;
    pub(super) const SEQ: u8 = 17;
    /// Records of this type.
    pub(super) const OF_TYPE: u8 = 18;
    /// The version that the record gets.
    pub(super) const VERSION: u8 = 19;
    /// Times that the record gets, in milliseconds since 1970 UTC.
    pub(super) const CREATED: u8 = 20;
    pub(super) const UPDATED: u8 = 21;
    pub(super) const EXPIRES: u8 = 22;
    /// What happens to another record that is there; without content.
    pub(super) const SKIP: u8 = 23;
    pub(super) const OVERWRITE: u8 = 24;
    /// The time to live that the record gets, in milliseconds.
    pub(super) const TTL: u8 = 25;
    /// The record stays; without content.
    pub(super) const CLEAR_EXPIRY: u8 = 26;
    /// The key is present, or is absent; without content.
    pub(super) const IF_PRESENT: u8 = 27;
    pub(super) const IF_ABSENT: u8 = 28;
    /// The number that is added, as it is spelled.
    pub(super) const BY: u8 = 29;
    /// A put keeps the expiry of its record; without content.
    pub(super) const KEEP_EXPIRY: u8 = 30;
}

/// The version and the hash of what is asked for, as `kv_once` keeps them; none for an operation that takes no `once`.
pub(super) fn fingerprint(operation: &WriteOperation) -> Option<String> {
    let mut form = Form(Sha256::new_with_prefix([VERSION]));
    match operation {
        WriteOperation::Apply(mutation) => form.mutation(mutation),
        WriteOperation::Mutate(mutations) => {
            form.begin(operation::MUTATE);
            for mutation in mutations {
                form.field(field::MUTATION, b"");
                form.mutation(mutation);
            }
            form.end();
        }
        WriteOperation::Trim(trim) => {
            form.begin(operation::TRIM);
            match trim {
                Trim::UpTo(seq) => form.number(field::SEQ, *seq),
                Trim::All => form.field(field::ALL, b""),
            }
            form.end();
        }
        WriteOperation::Retain(_)
        | WriteOperation::LockAcquire(_)
        | WriteOperation::LockRelease(_)
        | WriteOperation::ConsumerCommit(_)
        | WriteOperation::ConsumerDelete { .. }
        | WriteOperation::ConsumerHold(_)
        | WriteOperation::ConsumerLeave(_)
        | WriteOperation::RemoveExpired => return None,
    }
    Some(format!("{VERSION}:{}", super::hex(&form.0.finalize())))
}

/// A form under construction. Every type is taken apart by naming all of its fields, so that none is forgotten.
struct Form(Sha256);

impl Form {
    fn begin(&mut self, operation: u8) {
        self.0.update([operation]);
    }

    fn end(&mut self) {
        self.0.update([field::END]);
    }

    fn field(&mut self, number: u8, content: &[u8]) {
        // Keys, types and values were checked against their limits, which are far below 4 GiB.
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        self.0.update([number]);
        self.0.update(length.to_be_bytes());
        self.0.update(content);
    }

    fn number(&mut self, number: u8, content: u64) {
        self.field(number, &content.to_be_bytes());
    }

    fn optional_number(&mut self, number: u8, content: Option<u64>) {
        if let Some(content) = content {
            self.number(number, content);
        }
    }

    fn optional_time(&mut self, number: u8, content: Option<Timestamp>) {
        if let Some(content) = content {
            self.field(number, &content.unix_ms().to_be_bytes());
        }
    }

    fn mutation(&mut self, mutation: &Mutation) {
        match mutation {
            Mutation::Put(Put { key, value, condition, record_type, expiry }) => {
                self.begin(operation::PUT);
                self.field(field::KEY, key.as_bytes());
                self.field(field::VALUE, value.get().as_bytes());
                self.condition(*condition);
                self.type_change(record_type);
                // The form of a put whose record stays is older than expiries.
                match *expiry {
                    ExpiryChange::Clear => {}
                    ExpiryChange::After(ttl) => self.number(field::TTL, whole_ms(ttl)),
                    ExpiryChange::Keep => self.field(field::KEEP_EXPIRY, b""),
                }
            }
            Mutation::Patch(Patch { key, patch, format, condition, record_type, expiry, return_value }) => {
                self.begin(operation::PATCH);
                self.field(field::KEY, key.as_bytes());
                let format = match format {
                    PatchFormat::Merge => field::MERGE_PATCH,
                    PatchFormat::JsonPatch => field::JSON_PATCH,
                };
                self.field(format, patch.get().as_bytes());
                self.condition(*condition);
                self.type_change(record_type);
                self.expiry_change(*expiry);
                if *return_value {
                    self.field(field::RETURN, b"");
                }
            }
            Mutation::Delete(Delete { target, condition, offset, limit }) => {
                self.begin(operation::DELETE);
                match target {
                    Target::Keys(keys) => keys.iter().for_each(|key| self.field(field::KEY, key.as_bytes())),
                    Target::Selection(selector) => self.selector(selector),
                }
                self.condition(*condition);
                self.optional_number(field::OFFSET, (*offset > 0).then_some(*offset));
                self.optional_number(field::LIMIT, *limit);
            }
            Mutation::Import(import) => self.import(import),
            Mutation::Increment(Increment { key, by, condition, record_type, expiry }) => {
                self.begin(operation::INCREMENT);
                self.field(field::KEY, key.as_bytes());
                self.field(field::BY, by.get().as_bytes());
                self.condition(*condition);
                self.type_change(record_type);
                self.expiry_change(*expiry);
            }
            Mutation::Expire(Expire { key, ttl, condition }) => {
                self.begin(operation::EXPIRE);
                self.field(field::KEY, key.as_bytes());
                self.optional_number(field::TTL, ttl.map(whole_ms));
                self.condition(*condition);
            }
            Mutation::Check(Check { key, condition }) => {
                self.begin(operation::CHECK);
                self.field(field::KEY, key.as_bytes());
                self.condition(*condition);
            }
        }
        self.end();
    }

    fn import(&mut self, import: &Import) {
        let Import { key, value, record_type, version, created, updated, expires, on_conflict } = import;
        self.begin(operation::IMPORT);
        self.field(field::KEY, key.as_bytes());
        self.field(field::VALUE, value.get().as_bytes());
        if let Some(record_type) = record_type {
            self.field(field::TYPE, record_type.as_bytes());
        }
        self.optional_number(field::VERSION, *version);
        self.optional_time(field::CREATED, *created);
        self.optional_time(field::UPDATED, *updated);
        self.optional_time(field::EXPIRES, *expires);
        match on_conflict {
            OnConflict::Fail => {}
            OnConflict::Skip => self.field(field::SKIP, b""),
            OnConflict::Overwrite => self.field(field::OVERWRITE, b""),
        }
    }

    fn condition(&mut self, Condition { version, revision, exists }: Condition) {
        self.optional_number(field::IF_VERSION, version);
        self.optional_number(field::IF_REVISION, revision);
        match exists {
            None => {}
            Some(true) => self.field(field::IF_PRESENT, b""),
            Some(false) => self.field(field::IF_ABSENT, b""),
        }
    }

    fn type_change(&mut self, change: &TypeChange) {
        match change {
            TypeChange::Keep => {}
            TypeChange::Clear => self.field(field::CLEAR_TYPE, b""),
            TypeChange::Set(record_type) => self.field(field::TYPE, record_type.as_bytes()),
        }
    }

    fn expiry_change(&mut self, change: ExpiryChange) {
        match change {
            ExpiryChange::Keep => {}
            ExpiryChange::Clear => self.field(field::CLEAR_EXPIRY, b""),
            ExpiryChange::After(ttl) => self.number(field::TTL, whole_ms(ttl)),
        }
    }

    fn selector(&mut self, selector: &Selector) {
        match selector {
            Selector::All => self.field(field::ALL, b""),
            Selector::Prefix(prefix) => self.field(field::PREFIX, prefix.as_bytes()),
            Selector::Range { from, to } => {
                self.field(field::FROM, from.as_bytes());
                self.field(field::TO, to.as_bytes());
            }
            Selector::Type(record_type) => self.field(field::OF_TYPE, record_type.as_bytes()),
        }
    }
}
