//! What a database of kv may hold. Any program can change one, so each row is checked once, where an engine reads it,
//! and no rule of the store has to doubt a number: a head can be incremented, and the kept part of the stream begins at
//! 1 or later.

use super::json_text::JsonTextError;
use super::plan::{ConsumerRow, LockRow, Meta, Row};
use super::position::Position;
use super::record::Change;
use crate::limits;

/// What is wrong with a database, in words.
#[derive(Debug)]
pub(crate) struct Damage(pub String);

/// A value that was read, or what is wrong with it.
pub(crate) type Result<T> = std::result::Result<T, Damage>;

impl Damage {
    pub(crate) fn new(what: impl Into<String>) -> Damage {
        Damage(what.into())
    }
}

impl From<JsonTextError> for Damage {
    fn from(error: JsonTextError) -> Damage {
        Damage(format!("a value is not JSON: {error}"))
    }
}

/// Checks a seq, a version, a fence or another count.
pub(crate) fn count(number: i64) -> Result<u64> {
    u64::try_from(number)
        .ok()
        .filter(|&count| count <= limits::COUNT_MAX)
        .ok_or_else(|| Damage(format!("{number} is a number that kv does not count to")))
}

/// Checks a time in milliseconds since 1970 UTC.
pub(crate) fn time_ms(number: i64) -> Result<i64> {
    ensure(limits::TIME_MS.contains(&number), || format!("{number} ms is not a time of the calendar"))?;
    Ok(number)
}

/// Checks a flag: 0 or 1.
pub(crate) fn flag(number: i64) -> Result<bool> {
    ensure(matches!(number, 0 | 1), || format!("{number} is neither 0 nor 1"))?;
    Ok(number == 1)
}

impl Meta {
    /// Checks the numbers of the store: after they are read, and before they are written.
    pub(crate) fn check(&self) -> Result<()> {
        let Meta { epoch: _, head, first, last_ms, fence, lock_seq } = self;
        check_ends(*head, *first)?;
        let largest = head.max(fence).max(lock_seq);
        ensure(*largest <= limits::COUNT_MAX, || format!("{largest} is more than kv counts to"))?;
        time_ms(*last_ms).map(drop)
    }
}

impl Position {
    pub(crate) fn checked(self) -> Result<Position> {
        check_ends(self.head, self.first)?;
        Ok(self)
    }
}

fn check_ends(head: u64, first: u64) -> Result<()> {
    ensure((1..=head + 1).contains(&first), || {
        format!("the stream cannot begin at {first} and end at {head}, as kv_meta says")
    })
}

/// The first and the last seq in `kv_stream`; none when it is empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamEnds {
    pub oldest: Option<u64>,
    pub newest: Option<u64>,
}

impl StreamEnds {
    /// Checks them against the head. Changes before the first kept seq are trimmed already, and removed later.
    pub(crate) fn check(&self, Meta { head, first, .. }: &Meta) -> Result<()> {
        let StreamEnds { oldest, newest } = self;
        let is_empty = first > head;
        let holds = match (oldest, newest) {
            (Some(oldest), Some(newest)) if is_empty => oldest <= newest && newest <= head,
            (Some(oldest), Some(newest)) => oldest <= first && newest == head,
            _ => is_empty,
        };
        ensure(holds, || {
            let shown = |seq: &Option<u64>| seq.map_or_else(|| "nothing".to_owned(), |seq| seq.to_string());
            format!(
                "kv_stream holds {} to {}, and kv_meta says {first} to {head}",
                shown(oldest),
                shown(newest)
            )
        })
    }
}

impl Row {
    /// Checks the row against a head, or against the change that shows it.
    pub(crate) fn checked(self, head: u64) -> Result<Row> {
        let Row { version, revision, .. } = &self;
        ensure(*version >= 1 && (1..=head).contains(revision), || {
            format!("a record has version {version} and revision {revision} at seq {head}")
        })?;
        Ok(self)
    }
}

impl Change {
    pub(crate) fn checked(self, head: u64) -> Result<Change> {
        let Change { seq, tx, .. } = &self;
        ensure((1..=*seq).contains(tx) && *seq <= head, || {
            format!("the stream ends at {head} and has the change {seq} of the call {tx}")
        })?;
        Ok(self)
    }
}

impl LockRow {
    /// Checks the row; `last` is the last fence that was granted.
    pub(crate) fn checked(self, last: u64) -> Result<LockRow> {
        let fence = self.fence;
        ensure((1..=last).contains(&fence), || {
            format!("a lock has the fence {fence}, and the last one that was given is {last}")
        })?;
        Ok(self)
    }
}

impl ConsumerRow {
    pub(crate) fn checked(self, head: u64) -> Result<ConsumerRow> {
        let position = self.position;
        ensure(position <= head, || format!("a consumer is at {position}, and the stream ends at {head}"))?;
        Ok(self)
    }
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Damage(what())) }
}
